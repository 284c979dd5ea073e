"""Measure a saved .pth on the held-out text: bits per byte beside xz and bzip2, recall, and sample texts.

Bits per byte: every held-out document on its own, from the empty state with a byte 0 in front, all its bytes and its final
byte 0 counted. --stream also reads the whole file as one stream.
Recall: questions of the held-out documents whose answer needs a fact last named 200 or more bytes before the answer. The
model reads the document up to "Assistant:", writes the answer greedily, and is right when the fact stands in it.
xz and bzip2 compress heldout.bin alone, in one piece, at their strongest setting.
Stories: how many of --stories seeded stories per language, drawn at temperature 0.3, keep to their cast from beginning to
end: the animal that was asked for, one other, the names of both and no others, one thing, and at most one kind of food.
"""
import argparse
import bz2
import collections
import hashlib
import importlib
import json
import lzma
import math
import os
import random

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # threads that spin lose most on a machine with other work

import torch
import torch.nn.functional as F

import model as rwkv
from grammar import engine

LANGUAGES = ["en", "zh", "ja", "ar", "hi", "es", "fr", "de", "ru"]
PROMPTS = {
    "English": "Tell me a story about a fox.",
    "Chinese": "讲一个关于兔子的故事。",
    "Japanese": "ねこのお話を聞かせてください。",
    "Arabic": "احك لي قصة عن أسد.",
    "Hindi": "मुझे हाथी की कहानी सुनाओ।",
    "Spanish": "Cuéntame un cuento sobre un conejo.",
    "French": "Raconte-moi une histoire avec un ours.",
    "German": "Erzähl mir eine Geschichte über einen Igel.",
    "Russian": "Расскажи сказку про медведя.",
}


def bits_per_byte(model, documents, size=16):
    documents = sorted(documents, key=len)
    nats = count = 0
    for at in range(0, len(documents), size):
        rows = documents[at : at + size]
        longest = max(map(len, rows))
        text = torch.zeros(len(rows), longest + 1, dtype=torch.long)
        counted = torch.zeros(len(rows), longest, dtype=torch.bool)
        for i, row in enumerate(rows):
            text[i, 1 : len(row) + 1] = torch.tensor(list(row))
            counted[i, : len(row)] = True
        losses = F.cross_entropy(model(text[:, :-1]).transpose(1, 2), text[:, 1:], reduction="none")
        nats += losses[counted].double().sum().item()
        count += int(counted.sum())
    return nats / count / math.log(2)


def stream_bits(model, data, piece=4096):
    state, nats = model.zero_state(1), 0.0
    text = torch.tensor([0] + list(data))
    for at in range(0, len(data), piece):
        end = min(at + piece, len(data))
        logits = model(text[None, at:end], state)
        nats += F.cross_entropy(logits[0], text[at + 1 : end + 1], reduction="sum").item()
    return nats / len(data) / math.log(2)


def complete(model, prompts, most=160, temperature=0.0, seed=0, stops=(b"\0", b"\n\n")):
    """Continuations of the prompts (bytes), greedy at temperature 0, cut before the first stop."""
    random = torch.Generator().manual_seed(seed)
    states, logits = [], []
    for prompt in prompts:
        state = model.zero_state(1)
        logits.append(model(torch.tensor([list(prompt)]), state)[:, -1])
        states.append(state)
    state = [{k: torch.cat([s[i][k] for s in states]) for k in states[0][i]} for i in range(len(states[0]))]
    logits, out = torch.cat(logits), [bytearray() for _ in prompts]
    for _ in range(most):
        if temperature:
            token = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=random)[:, 0]
        else:
            token = logits.argmax(-1)
        for row, t in zip(out, token.tolist()):
            row.append(t)
        if all(any(stop in row for stop in stops) for row in out):
            break
        logits = model(token[:, None], state)[:, -1]
    cut = lambda row: row[: min((row.find(s) for s in stops if s in row), default=len(row))]
    return [bytes(cut(row)).decode(errors="replace").strip() for row in out], out


def chat(turns, question):
    return "".join(f"User: {q}\n\nAssistant: {a}\n\n" for q, a in turns) + f"User: {question}\n\nAssistant:"


def cases(path, least):
    """(language, distance, prompt, fact) of the questions that need memory."""
    for line in open(path, encoding="utf-8"):
        d = json.loads(line)
        for turn, fact in d["recalls"]:
            prompt = chat(d["turns"][:turn], d["turns"][turn][0]).encode()
            answer = d["turns"][turn][1].encode()
            at, wanted = prompt.rfind(fact.encode()), answer.find(fact.encode())
            # facts that the text only holds in another grammatical form or with a capital are left out
            if at < 0 or wanted < 0:
                continue
            distance = len(prompt) + 1 + wanted - (at + len(fact.encode()))
            if distance >= least:
                yield d["language"], distance, prompt, fact


def recall(model, path, least, limit):
    tested = list(cases(path, least))[:limit]
    right, total, wrong = collections.Counter(), collections.Counter(), []
    for at in range(0, len(tested), 64):
        batch = tested[at : at + 64]
        for (language, distance, prompt, fact), answer in zip(
            batch, complete(model, [c[2] for c in batch])[0]
        ):
            far = next(
                f"{low}-{high - 1}" if high else f"{low}+"
                for low, high in (
                    (0, 200),
                    (200, 400),
                    (400, 600),
                    (600, 800),
                    (800, 0),
                )
                if not high or distance < high
            )
            ok = fact in answer
            for key in ("all", language, far + " bytes"):
                total[key] += 1
                right[key] += ok
            if not ok and len(wrong) < 10:
                wrong.append(
                    {
                        "question": prompt.decode()[-90:],
                        "wanted": fact,
                        "answer": answer,
                    }
                )
    return {
        key: {
            "right": right[key],
            "of": total[key],
            "accuracy": round(right[key] / total[key], 4),
        }
        for key in sorted(total)
    }, wrong


def keeps_its_cast(language, asked, story):
    """Whether a story is about the animal that was asked for and one other, by their names alone, and one thing."""
    animals = {a["emoji"] for a in language.ANIMALS if a["emoji"] in story}
    things = {o["emoji"] for o in language.OBJECTS if o["emoji"] in story}
    foods = {f["emoji"] for f in language.FOODS if f["emoji"] in story}
    # A name may be inflected: its forms are the cells of its row.
    named = {
        animal
        for animal, name in language.names.items()
        if any(form in story for key, form in name.items() if key != "g")
    }
    return (
        asked in animals and len(animals) == 2 and named == animals and len(things) == 1 and len(foods) <= 1
    )


def stories(model, count):
    kept = {}
    for name in LANGUAGES:
        language = engine.Cast(importlib.import_module("grammar." + name))
        r = random.Random(name)
        asked, prompts = [], []
        for _ in range(count):
            words = engine.draw(language, r)
            # the questions that name the hero's animal and nothing else
            asks = [
                a
                for a in language.ASK
                if "{hero" in a and "name}" not in a and "friend" not in a and "obj" not in a
            ]
            prompts.append(chat([], engine.expand(r.choice(asks), words, r)).encode())
            asked.append(words["hero"]["emoji"])
        texts = complete(model, prompts, most=1600, temperature=0.3, stops=(b"\0", b"\n\n"))[0]
        kept[name] = sum(keeps_its_cast(language, a, t) for a, t in zip(asked, texts))
    return {**kept, "all": sum(kept.values()), "of": count * len(LANGUAGES)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", help="the .pth")
    p.add_argument("--data", required=True, help="the directory that corpus.py filled")
    p.add_argument(
        "--least",
        type=int,
        default=200,
        help="smallest distance for recall, in bytes (default 200)",
    )
    p.add_argument("--limit", type=int, default=10**9, help="at most this many recall questions")
    p.add_argument(
        "--stream",
        action="store_true",
        help="also read the whole held-out file as one stream",
    )
    p.add_argument(
        "--stories",
        type=int,
        default=50,
        help="stories per language to look at (default 50)",
    )
    p.add_argument("--samples", action="store_true", help="only write sample texts")
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_grad_enabled(False)
    model = rwkv.load(o.model)
    if not o.samples:
        with open(os.path.join(o.data, "heldout.bin"), "rb") as file:
            data = file.read()
        with open(o.model, "rb") as file:
            raw = file.read()
        bits = bits_per_byte(model, [d + b"\0" for d in data.split(b"\0")[:-1]])
        result = {
            "file bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "parameters": sum(t.numel() for t in model.state_dict().values()),
            "held-out bytes": len(data),
            "held-out documents": data.count(b"\0"),
            "bits per byte": round(bits, 4),
            "perplexity per byte": round(2**bits, 4),
            "xz -9e bits per byte": round(
                len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) * 8 / len(data),
                4,
            ),
            "bzip2 -9 bits per byte": round(len(bz2.compress(data, 9)) * 8 / len(data), 4),
        }
        if o.stream:
            result["bits per byte as one stream"] = round(stream_bits(model, data), 4)
        print(json.dumps(result, indent=1), flush=True)
        accuracy, wrong = recall(model, os.path.join(o.data, "heldout.jsonl"), o.least, o.limit)
        print(
            json.dumps(
                {"recall": accuracy, "some wrong answers": wrong},
                indent=1,
                ensure_ascii=False,
            ),
            flush=True,
        )
        if o.stories > 0:
            print(
                json.dumps({"stories that keep to their cast": stories(model, o.stories)}),
                flush=True,
            )
    for temperature in (0.0, 0.8):
        texts, raw = complete(
            model,
            [chat([], q).encode() for q in PROMPTS.values()],
            most=1600,
            temperature=temperature,
            stops=(b"\0", b"\n\nUser:"),
        )
        for (name, question), text, row in zip(PROMPTS.items(), texts, raw):
            ending = (
                "ends with byte 0"
                if b"\0" in row
                else "goes on to the next turn"
                if b"\n\nUser:" in row
                else "did not end"
            )
            print(
                f'\n{name}, {"greedy" if not temperature else f"temperature {temperature}"} ({ending})\nUser: {question}\n\nAssistant: {text}'
            )


if __name__ == "__main__":
    main()
