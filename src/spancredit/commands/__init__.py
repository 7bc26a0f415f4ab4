"""The commands behind `spancredit`, one a file."""
