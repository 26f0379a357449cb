"""wordcount.py FILE [N] - the N most frequent words of a text file, leaving out the words given on standard input."""
import re
import sys
from collections import Counter

path = sys.argv[1]
most = int(sys.argv[2]) if len(sys.argv) > 2 else 5
left_out = set(sys.stdin.read().split())

with open(path, encoding="utf-8") as text:
    words = re.findall(r"[a-z][a-z'-]*", text.read().lower())

counts = Counter(word for word in words if word not in left_out)
print(f"{len(words)} words, {len(counts)} different ones counted")
for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]:
    print(f"{count:4}  {word}")
