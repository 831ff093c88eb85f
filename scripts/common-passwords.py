#!/usr/bin/env python3
"""Usage: scripts/common-passwords.py   (with the Python packages zxcvbn==4.5.0 and django==5.2.19 installed)

Writes src/domain/common_passwords.bin: for each common password of at least 8 characters, lower-cased, the first five bytes
of its SHA-256, sorted, without a gap.

Sources: the frequency lists of zxcvbn (passwords, names, words of Wikipedia and of film; MIT licence, Copyright (c)
2012-2016 Dan Wheeler and Dropbox, Inc.; Python port by Daniel Wolf) and Django's list of common passwords, made by Royce
Williams (BSD licence, Copyright (c) Django Software Foundation and individual contributors). The file holds no text of
theirs, only hashes.
"""

import gzip
import hashlib
import pathlib

import django.contrib.auth
from zxcvbn.frequency_lists import FREQUENCY_LISTS

words = {word for words in FREQUENCY_LISTS.values() for word in words}
with gzip.open(pathlib.Path(django.contrib.auth.__file__).with_name("common-passwords.txt.gz"), "rt") as file:
    words |= {line.strip() for line in file}
entries = {hashlib.sha256(word.lower().encode()).digest()[:5] for word in words if len(word) >= 8}
target = pathlib.Path(__file__).parent.parent / "src/domain/common_passwords.bin"
target.write_bytes(b"".join(sorted(entries)))
print(f"{len(entries)} passwords, {target.stat().st_size} bytes")
