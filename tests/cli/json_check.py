#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Checks what "blipmq sub -j" printed of the payloads that sub.sh publishes."""

import base64
import json
import sys

SENT = [b"plain", b'quote" back\\slash', b"tab\tfeed\nend", b"\x1b[31m",
        "grün".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"nul\0", b""]
KEYS = ["time", "subject", "seq", "uid", "pid", "endpoint", "gap"]


def payload(message):
    if "payload_base64" in message:
        data = base64.b64decode(message["payload_base64"], validate=True)
        try:
            data.decode()
        except UnicodeDecodeError:
            return data
        sys.exit(f"UTF-8 as base64: {message}")
    return message["payload"].encode()


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        messages = [json.loads(line) for line in lines]
    if [payload(message) for message in messages] != SENT:
        sys.exit(f"payloads differ: {messages}")
    first = messages[0]["seq"]
    for number, message in enumerate(messages):
        if [key for key in message if not key.startswith("payload")] != KEYS:
            sys.exit(f"keys differ: {message}")
        if message["subject"] != "odd" or message["seq"] != first + number:
            sys.exit(f"subject or seq is wrong: {message}")
        if message["uid"] != 0 or not message["pid"] or not message["endpoint"]:
            sys.exit(f"sender is wrong: {message}")
        if message["gap"] or not message["time"].endswith("Z"):
            sys.exit(f"gap or time is wrong: {message}")


main()
