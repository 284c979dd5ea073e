"""Muon (Keller Jordan, 2024, https://kellerjordan.github.io/posts/muon): momentum whose update is the nearest
semi-orthogonal matrix, for the matrices inside the blocks. Sums that only few examples ask for, as remembering one of
several names does, get steps as large as all others, which AdamW gives them only much later.
"""
import torch


def orthogonal(G, steps=5):
    """About U V^T of the singular value decomposition of each matrix of G [n, rows, columns], by Newton-Schulz iteration
    with the coefficients of the source above (singular values end up between about 0.7 and 1.2).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = G.shape[1] <= G.shape[2]
    X = G if wide else G.transpose(1, 2)
    X = X / (X.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.transpose(1, 2)
        X = a * X + (b * A + c * A @ A) @ X
    return X if wide else X.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    """Updates are scaled by 0.2 sqrt(longer side), the size of AdamW's (arXiv:2502.16982), so both take one learning rate."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for (
                shape,
                same,
            ) in shapes.items():  # matrices of one shape go through the iteration together
                updates = []
                for p in same:
                    kept = self.state[p].setdefault("momentum", torch.zeros_like(p))
                    kept.mul_(group["momentum"]).add_(p.grad)
                    updates.append(p.grad + group["momentum"] * kept)
                scale = 0.2 * max(shape) ** 0.5
                for p, update in zip(same, orthogonal(torch.stack(updates))):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)
