"""Write the text to train on and the held-out text: DIR/train.bin, DIR/heldout.bin and DIR/heldout.jsonl.
DIR/train.marks has a byte for every byte of train.bin: 1 where it can only be known from what the document said before.

Documents are in the World chat format and end with a byte 0. What is told in a document (who, where, which thing in which
colour, ...) decides by a hash on which side of the split it falls, so no combination of facts is on both sides.
"""
import argparse
import importlib
import json
import os
import random
import zlib

from grammar import engine

LANGUAGES = ["en", "zh", "ja", "ar", "hi", "es", "fr", "de", "ru"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--megabytes", type=float, default=40, help="of text to train on (default 40)")
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--held", type=int, default=64, help="one in this many documents is held out (default 64)")
    p.add_argument(
        "--cast",
        choices=["small", "full"],
        default="small",
        help="the first rows of each table and one name for each animal, or everything (default small)",
    )
    p.add_argument(
        "--shares",
        help=f"how often each of {' '.join(LANGUAGES)} is drawn (default alike, English twice as often)",
    )
    o = p.parse_args()
    shares = o.shares and [float(share) for share in o.shares.split()]
    if shares and len(shares) != len(LANGUAGES):
        p.error(f"--shares: expected {len(LANGUAGES)} numbers, found {len(shares)}")
    os.makedirs(o.dir, exist_ok=True)
    modules = {name: importlib.import_module("grammar." + name) for name in LANGUAGES}
    if o.cast == "small":
        modules = {name: engine.Cast(module) for name, module in modules.items()}
    r = random.Random(o.seed)
    written = count = held = 0
    with open(os.path.join(o.dir, "train.bin"), "wb") as train, open(
        os.path.join(o.dir, "heldout.bin"), "wb"
    ) as out, open(os.path.join(o.dir, "train.marks"), "wb") as marks, open(
        os.path.join(o.dir, "heldout.jsonl"), "w", encoding="utf-8"
    ) as lines:
        while written < o.megabytes * 1e6:
            name = r.choices(LANGUAGES, shares)[0] if shares else r.choice(LANGUAGES + ["en"])
            d, key = engine.document(modules[name], r)
            text = d.text().encode() + b"\0"
            if zlib.crc32(f"{name} {key}".encode()) % o.held == 0:
                out.write(text)
                lines.write(
                    json.dumps({"language": name, "turns": d.turns, "recalls": d.recalls}, ensure_ascii=False)
                    + "\n"
                )
                held += 1
            else:
                train.write(text)
                marks.write(d.marks() + b"\0")
                written += len(text)
                count += 1
    print(f"{count} documents, {written} bytes to train on; {held} documents held out")


if __name__ == "__main__":
    main()
