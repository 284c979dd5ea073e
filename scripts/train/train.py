"""Train the demonstration model on the text that corpus.py wrote.

The run is seeded, writes a checkpoint every --every steps and goes on from it when started again.
The batch of a step depends on the seed and the step alone, so a resumed run sees the same text.
"""
import argparse
import ctypes
import math
import os
import time

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # threads that spin lose most on a machine with other work

import numpy as np
import torch
import torch.nn.functional as F

import model as rwkv
from muon import Muon


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--data",
        required=True,
        help="the directory that corpus.py filled (train.bin, heldout.bin)",
    )
    p.add_argument(
        "--out",
        required=True,
        help="directory for checkpoint.pt, its log and the finished wkv-demo.pth",
    )
    p.add_argument("--start", help="a .pth to begin with instead of random weights")
    p.add_argument("--layers", type=int, default=4)
    p.add_argument(
        "--width",
        type=int,
        default=128,
        help="embedding size, a multiple of 64 (default 128)",
    )
    p.add_argument("--context", type=int, default=1024, help="bytes per row (default 1024)")
    p.add_argument("--batch", type=int, default=2, help="rows per step (default 2)")
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--rate", type=float, default=3e-3, help="highest learning rate (default 3e-3)")
    p.add_argument(
        "--marked",
        type=float,
        default=1,
        help="weight of the marked bytes in the loss (default 1)",
    )
    p.add_argument("--seed", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument(
        "--every",
        type=int,
        default=250,
        help="steps between checkpoints and held-out figures",
    )
    p.add_argument(
        "--stop",
        type=int,
        help="stop after this step (the learning rate still follows --steps)",
    )
    return p.parse_args()


def keep_memory():
    """Has glibc keep what is freed: asking the system anew for the tensors of every step takes a quarter of the time."""
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class Rows:
    """Rows of text that begin where a document begins."""

    def __init__(self, path, context):
        self.bytes = np.fromfile(path, dtype=np.uint8)
        starts = np.concatenate(([0], np.flatnonzero(self.bytes == 0) + 1))
        self.starts = starts[starts + context + 1 <= len(self.bytes)]
        self.context = context
        marks = path[: -len("bin")] + "marks"
        self.marks = np.fromfile(marks, dtype=np.uint8) if os.path.exists(marks) else None

    def batch(self, rows, *seed):
        chosen = np.random.default_rng(seed).choice(self.starts, rows)
        text = torch.from_numpy(
            np.stack([self.bytes[s : s + self.context + 1] for s in chosen]).astype(np.int64)
        )
        marks = (
            None
            if self.marks is None
            else torch.from_numpy(np.stack([self.marks[s + 1 : s + self.context + 1] for s in chosen]))
        )
        return text[:, :-1], text[:, 1:], marks


def learning_rate(step, o):
    warm = max(1, o.steps // 100)
    if step < warm:
        return o.rate * (step + 1) / warm
    done = (step - warm) / max(1, o.steps - warm)
    return o.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimizers(model, rate):
    """Muon for the matrices of the blocks, AdamW for the embedding, the head and all vectors."""
    named = list(model.named_parameters())
    matrices = [p for n, p in named if n.startswith("blocks.") and n.endswith(".weight") and p.dim() == 2]
    outer = [p for n, p in named if n in ("emb.weight", "head.weight")]
    vectors = [p for n, p in named if not any(p is q for q in matrices + outer)]
    adam = [
        {"params": outer, "weight_decay": 0.01},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return Muon(matrices, rate), torch.optim.AdamW(adam, lr=rate, betas=(0.9, 0.99), eps=1e-8)


def bits(model, rows, batches, size):
    """Bits per byte over the same held-out rows every time."""
    with torch.no_grad():
        losses = []
        for i in range(batches):
            x, y, _ = rows.batch(size, 77, i)
            losses.append(F.cross_entropy(model(x).view(-1, 256), y.reshape(-1)).item())
    return sum(losses) / len(losses) / math.log(2)


def main():
    o = options()
    os.makedirs(o.out, exist_ok=True)
    keep_memory()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    train, held = (Rows(os.path.join(o.data, name), o.context) for name in ("train.bin", "heldout.bin"))
    model = rwkv.load(o.start).train() if o.start else rwkv.RWKV5(o.layers, o.width)
    optimizers = make_optimizers(model, o.rate)
    step, seconds = 0, 0.0
    checkpoint = os.path.join(o.out, "checkpoint.pt")
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint, map_location="cpu")
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, seconds = saved["step"], saved["seconds"]
        print(f"going on from step {step}", flush=True)
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{count} parameters, {o.batch} x {o.context} bytes a step, {o.steps} steps",
        flush=True,
    )
    began, running, recalled = time.time() - seconds, None, None
    while step < min(o.steps, o.stop or o.steps):
        rate = learning_rate(step, o)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        x, y, marks = train.batch(o.batch, o.seed, step)
        losses = F.cross_entropy(model(x).view(-1, 256), y.reshape(-1), reduction="none")
        loss = losses.mean()
        if o.marked != 1:
            weights = 1 + (o.marked - 1) * marks.reshape(-1).float()
            loss = (losses * weights).sum() / weights.sum()
        model.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        value = losses.mean().item() / math.log(2)
        running = value if running is None else 0.98 * running + 0.02 * value
        if marks is not None:
            value = losses[marks.reshape(-1) != 0].mean().item() / math.log(2)
            recalled = value if recalled is None else 0.98 * recalled + 0.02 * value
        if step % 50 == 0:
            print(
                f"step {step} bits/byte {running:.4f} marked {recalled or 0:.4f} gradient {norm:.2f} rate {rate:.2e} "
                f"{time.time() - began:.0f} s",
                flush=True,
            )
        if step % o.every == 0 or step == o.steps:
            seconds = time.time() - began
            part = checkpoint + ".part"
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "step": step,
                    "seconds": seconds,
                },
                part,
            )
            os.replace(part, checkpoint)
            rwkv.save(model, os.path.join(o.out, "wkv-demo.pth"))
            print(
                f"step {step} held-out bits/byte {bits(model, held, 12, 4):.4f} after {seconds:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
