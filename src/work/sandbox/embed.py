#!/usr/bin/env python3
"""embed.py SYMBOL FILE OUTPUT - an assembler file that carries FILE as SYMBOL, and its length as SYMBOL_size."""
import os
import sys

symbol, path, output = sys.argv[1:]
with open(output, "w") as out:
    out.write(f"""    .section .rodata
    .global {symbol}
    .global {symbol}_size
    .balign 16
{symbol}:
    .incbin "{os.path.abspath(path)}"
{symbol}_end:
    .balign 8
{symbol}_size:
    .quad {symbol}_end - {symbol}
    .section .note.GNU-stack,"",%progbits
""")
