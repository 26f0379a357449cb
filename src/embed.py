#!/usr/bin/env python3
"""embed.py - files carried inside the program, as an assembler file.

  embed.py SYMBOL FILE OUTPUT             the file as SYMBOL, its length as SYMBOL_size (64 bits)
  embed.py --table SYMBOL OUTPUT FILE...  SYMBOL is a table of {name, content, size}, 64 bits each, that ends with zeros;
                                          the name is the last part of the path
"""
import os
import sys

END = '    .section .note.GNU-stack,"",%progbits\n'


def embed(symbol, path, output):
    output.write(f"""    .section .rodata
    .global {symbol}
    .global {symbol}_size
    .balign 16
{symbol}:
    .incbin "{os.path.abspath(path)}"
{symbol}_end:
    .balign 8
{symbol}_size:
    .quad {symbol}_end - {symbol}
""")


def embed_table(symbol, paths, output):
    output.write("    .section .rodata\n")
    for i, path in enumerate(paths):
        output.write(f"""{symbol}_name_{i}:
    .asciz "{os.path.basename(path)}"
    .balign 16
{symbol}_{i}:
    .incbin "{os.path.abspath(path)}"
{symbol}_end_{i}:
""")
    output.write(f"    .section .data.rel.ro, \"aw\"\n    .global {symbol}\n    .balign 8\n{symbol}:\n")
    for i, _ in enumerate(paths):
        output.write(f"    .quad {symbol}_name_{i}, {symbol}_{i}, {symbol}_end_{i} - {symbol}_{i}\n")
    output.write("    .quad 0, 0, 0\n")


if sys.argv[1] == "--table":
    with open(sys.argv[3], "w") as out:
        embed_table(sys.argv[2], sys.argv[4:], out)
        out.write(END)
else:
    with open(sys.argv[3], "w") as out:
        embed(sys.argv[1], sys.argv[2], out)
        out.write(END)
