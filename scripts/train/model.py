"""RWKV-5.2 in PyTorch, with the tensor names and shapes of the official .pth files.

The recurrence runs in wkv5_kernel.c, compiled at first use with the system's C compiler ($CC, default cc).
`python3 model.py` compares the kernel, forward and backward, with plain PyTorch operations.
"""
import collections
import ctypes
import hashlib
import os
import subprocess
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F

HEAD = 64
HERE = os.path.dirname(os.path.abspath(__file__))
_library = None


def kernel():
    """The compiled kernel, built once per source into the directory for temporary files."""
    global _library
    if _library is None:
        source = os.path.join(HERE, "wkv5_kernel.c")
        with open(source, "rb") as file:
            tag = hashlib.sha256(file.read()).hexdigest()[:16]
        built = os.path.join(tempfile.gettempdir(), f"wkv5_kernel_{tag}_{os.getuid()}.so")
        if not os.path.exists(built):
            part = f"{built}.{os.getpid()}"
            subprocess.run(
                [
                    os.environ.get("CC", "cc"),
                    "-O3",
                    "-march=native",
                    "-ffast-math",
                    "-fopenmp",
                    "-shared",
                    "-fPIC",
                    source,
                    "-o",
                    part,
                ],
                check=True,
            )
            os.replace(part, built)
        _library = ctypes.CDLL(built)
    return _library


def _address(tensor):
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def wkv5_forward(r, k, v, w, u, state=None):
    """r, k, v [B, T, H, 64], w, u [H, 64], state [B, H, 64, 64] or None; gives y and the state after it."""
    B, T, H, N = r.shape
    y, after = torch.empty_like(r), torch.empty(B, H, N, N)
    kernel().wkv5_forward(
        *(ctypes.c_long(n) for n in (B, T, H)), *map(_address, (r, k, v, w, u, state, y, after))
    )
    return y, after


class Recurrence(torch.autograd.Function):
    """y of the recurrence that begins with a state of zeros."""

    @staticmethod
    def forward(ctx, r, k, v, w, u):
        r, k, v, w, u = (x.contiguous() for x in (r, k, v, w, u))
        ctx.save_for_backward(r, k, v, w, u)
        return wkv5_forward(r, k, v, w, u)[0]

    @staticmethod
    def backward(ctx, gy):
        r, k, v, w, u = ctx.saved_tensors
        B, T, H, N = r.shape
        gr, gk, gv = (torch.empty_like(r) for _ in range(3))
        gw, gu = torch.empty(B, H, N), torch.empty(B, H, N)
        gy = gy.contiguous()
        kernel().wkv5_backward(
            *(ctypes.c_long(n) for n in (B, T, H)), *map(_address, (r, k, v, w, u, gy, gr, gk, gv, gw, gu))
        )
        return gr, gk, gv, gw.sum(0), gu.sum(0)


def shift(x, last):
    """The previous token's x; `last` [B, D] stands before the first one (None: zeros)."""
    first = torch.zeros_like(x[:, :1]) if last is None else last[:, None]
    return torch.cat((first, x[:, :-1]), 1)


class TimeMix(nn.Module):
    def __init__(self, D, layer, layers):
        super().__init__()
        H = D // HEAD
        up, down = layer / max(layers - 1, 1), 1 - layer / layers
        d = torch.arange(D) / D
        for name, mix in (
            ("k", d**down),
            ("v", d**down + 0.3 * up),
            ("r", d ** (0.5 * down)),
            ("g", d ** (0.5 * down)),
        ):
            setattr(self, "time_mix_" + name, nn.Parameter(mix.view(1, 1, D).clone()))
        n = torch.arange(D) / (D - 1)
        self.time_decay = nn.Parameter((-8 + 7 * n ** (0.7 + 1.3 * up)).view(H, HEAD))
        self.time_faaaa = nn.Parameter((up * (1 - n) + 0.1 * ((torch.arange(D) + 1) % 3 - 1)).view(H, HEAD))
        self.receptance, self.key, self.value, self.output, self.gate = (
            nn.Linear(D, D, bias=False) for _ in range(5)
        )
        self.ln_x = nn.GroupNorm(H, D, eps=64e-5)

    def forward(self, x, state):
        B, T, D = x.shape
        p = shift(x, state and state["att_x"])
        mix = lambda m: p + (x - p) * m
        r, k, v = (
            layer(mix(m)).view(B, T, D // HEAD, HEAD)
            for layer, m in (
                (self.receptance, self.time_mix_r),
                (self.key, self.time_mix_k),
                (self.value, self.time_mix_v),
            )
        )
        g = F.silu(self.gate(mix(self.time_mix_g)))
        w = torch.exp(-torch.exp(self.time_decay))
        if state is None:
            y = Recurrence.apply(r, k, v, w, self.time_faaaa)
        else:
            y, state["wkv"] = wkv5_forward(r, k, v, w, self.time_faaaa, state["wkv"])
            state["att_x"] = x[:, -1]
        return self.output(self.ln_x(y.reshape(B * T, D)).view(B, T, D) * g)


class ChannelMix(nn.Module):
    def __init__(self, D, layer, layers):
        super().__init__()
        hidden = int(D * 3.5) // 32 * 32
        mix = (torch.arange(D) / D) ** (1 - layer / layers)
        self.time_mix_k, self.time_mix_r = (nn.Parameter(mix.view(1, 1, D).clone()) for _ in range(2))
        self.key = nn.Linear(D, hidden, bias=False)
        self.receptance = nn.Linear(D, D, bias=False)
        self.value = nn.Linear(hidden, D, bias=False)

    def forward(self, x, state):
        p = shift(x, state and state["ffn_x"])
        if state is not None:
            state["ffn_x"] = x[:, -1]
        k = F.relu(self.key(p + (x - p) * self.time_mix_k)) ** 2
        return torch.sigmoid(self.receptance(p + (x - p) * self.time_mix_r)) * self.value(k)


class Block(nn.Module):
    def __init__(self, D, layer, layers):
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(D)
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.att, self.ffn = TimeMix(D, layer, layers), ChannelMix(D, layer, layers)


class RWKV5(nn.Module):
    def __init__(self, layers, D, vocabulary=256):
        super().__init__()
        self.emb = nn.Embedding(vocabulary, D)
        self.blocks = nn.ModuleList(Block(D, layer, layers) for layer in range(layers))
        self.ln_out = nn.LayerNorm(D)
        self.head = nn.Linear(D, vocabulary, bias=False)
        self.D = D
        with torch.no_grad():
            self.emb.weight.uniform_(-1e-2, 1e-2)
            for name, p in self.named_parameters():
                # what each block adds begins at zero; att.receptance must not (with att.output it would never learn)
                if name.endswith(("att.output.weight", "ffn.value.weight", "ffn.receptance.weight")):
                    p.zero_()
                elif name.endswith("ln_x.weight"):
                    p.fill_(((1 + int(name.split(".")[1])) / layers) ** 0.7)
                elif p.dim() == 2 and name.endswith(".weight") and not name.startswith("emb"):
                    nn.init.orthogonal_(
                        p, gain=0.5 if name.startswith("head") else max(1.0, (p.shape[0] / p.shape[1]) ** 0.5)
                    )

    def zero_state(self, batch):
        H = self.D // HEAD
        return [
            {
                "att_x": torch.zeros(batch, self.D),
                "ffn_x": torch.zeros(batch, self.D),
                "wkv": torch.zeros(batch, H, HEAD, HEAD),
            }
            for _ in self.blocks
        ]

    def forward(self, tokens, state=None):
        """Logits [B, T, vocabulary]. With a state (only without gradients) it continues from there and updates it."""
        x = self.blocks[0].ln0(self.emb(tokens))
        for i, block in enumerate(self.blocks):
            s = None if state is None else state[i]
            x = x + block.att(block.ln1(x), s)
            x = x + block.ffn(block.ln2(x), s)
        return self.head(self.ln_out(x))


def save(model, path):
    """The bf16 .pth: a zip of plain tensors, in the order of the official files."""
    state = collections.OrderedDict(
        (name, p.detach().to(torch.bfloat16).contiguous()) for name, p in model.state_dict().items()
    )
    torch.save(state, path)


def load(path):
    state = torch.load(path, map_location="cpu")
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    model = RWKV5(layers, state["emb.weight"].shape[1], state["emb.weight"].shape[0])
    model.load_state_dict({name: t.float() for name, t in state.items()})
    return model.eval()


def check():
    """The kernel against the same recurrence in PyTorch operations and float64."""
    torch.manual_seed(0)
    B, T, H = 2, 33, 2
    r, k, v, gy = (torch.randn(B, T, H, HEAD) for _ in range(4))
    w, u = torch.exp(-torch.exp(torch.empty(H, HEAD).uniform_(-6, 0.5))), torch.randn(H, HEAD)
    ours = [x.clone().requires_grad_() for x in (r, k, v, w, u)]
    y = Recurrence.apply(*ours)
    y.backward(gy)
    plain = [x.double().requires_grad_() for x in (r, k, v, w, u)]
    R, K, V, W, U = plain
    S, out = torch.zeros(B, H, HEAD, HEAD, dtype=torch.float64), []
    for t in range(T):
        kv = K[:, t, :, :, None] * V[:, t, :, None, :]
        out.append(torch.einsum("bhi,bhij->bhj", R[:, t], S + U[None, :, :, None] * kv))
        S = W[None, :, :, None] * S + kv
    expected = torch.stack(out, 1)
    expected.backward(gy.double())
    worst = 0.0
    for name, a, b in [("y", y, expected)] + [(n, p.grad, q.grad) for n, p, q in zip("rkvwu", ours, plain)]:
        error = ((a - b).abs().max() / b.abs().max()).item()
        worst = max(worst, error)
        print(
            f'{"gradient of " if name != "y" else ""}{name}: largest difference / largest value {error:.2e}'
        )
    whole, after = wkv5_forward(r, k, v, w, u)
    first, middle = wkv5_forward(*(x[:, :10].contiguous() for x in (r, k, v)), w, u)
    second, end = wkv5_forward(*(x[:, 10:].contiguous() for x in (r, k, v)), w, u, middle)
    worst = max(
        worst,
        (torch.cat((first, second), 1) - whole).abs().max().item() / 100,
        (end - after).abs().max().item() / 100,
    )
    if worst > 1e-5:
        raise SystemExit("the kernel is wrong")
    print("the kernel agrees")


if __name__ == "__main__":
    check()
