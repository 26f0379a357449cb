#!/usr/bin/env python3
"""embed.py BINARY OUTPUT - an assembler file that carries the static init as sandbox_init_image."""
import os
import sys

binary, output = sys.argv[1:]
with open(output, "w") as out:
    out.write(f"""    .section .rodata
    .global sandbox_init_image
    .global sandbox_init_image_size
    .balign 16
sandbox_init_image:
    .incbin "{os.path.abspath(binary)}"
sandbox_init_image_end:
    .balign 8
sandbox_init_image_size:
    .quad sandbox_init_image_end - sandbox_init_image
    .section .note.GNU-stack,"",%progbits
""")
