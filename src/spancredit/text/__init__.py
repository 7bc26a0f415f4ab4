"""Where to intervene: completion ids -> text -> spans and answer."""
