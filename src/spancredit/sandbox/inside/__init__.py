"""What runs inside the confinement: the standard library and ctypes only, with nothing in it to steal."""
