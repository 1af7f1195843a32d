"""Thin commands: parse, import inside the function, call one library function, print."""
