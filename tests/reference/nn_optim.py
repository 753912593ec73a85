"""Twenty steps of every optimiser, clipping, and schedules, from torch.optim in float64.

Usage: python tests/reference/nn_optim.py
"""

import torch
from torch.optim import lr_scheduler as lrs

import fixture_file
from hash_rng import normal_tensor

SEED = 47
SHAPES = {"a": (4, 3), "b": (5,), "c": (2, 2, 3)}
STEPS = 20
# Parameter "b" has no gradient in these steps.
SKIPPED = (0, 3, 4)


def start():
    return {name: normal_tensor(SEED, name, shape) for name, shape in SHAPES.items()}


def gradient(name, step):
    shape = SHAPES[name]
    return normal_tensor(SEED, f"gradient.{name}", shape, offset=step * torch.Size(shape).numel())


def learning_rate(step):
    return 0.1 * (1.0 - step / 40.0)


def run(tensors, case, build):
    """Parameters "a" and "c" form a group, "b" another with a tenth of the learning rate."""
    params = {name: torch.nn.Parameter(value) for name, value in start().items()}
    optimiser = build([params["a"], params["c"]], [params["b"]])
    for step in range(STEPS):
        for group, scale in zip(optimiser.param_groups, (1.0, 0.1)):
            group["lr"] = scale * learning_rate(step)
        for name, param in params.items():
            skipped = name == "b" and step in SKIPPED
            param.grad = None if skipped else gradient(name, step)
        optimiser.step()
        if step in (0, 1, STEPS - 1):
            for name, param in params.items():
                tensors[f"{case}.{step}.{name}"] = param.detach().clone()
    for name, param in params.items():
        for key, value in optimiser.state[param].items():
            if value is not None:
                tensors[f"{case}.state.{key}.{name}"] = value.to(torch.float64)


def groups(main, rest, decay):
    return [
        {"params": main, "weight_decay": decay},
        {"params": rest, "weight_decay": 0.0},
    ]


def optimisers(tensors):
    sgd = {
        "sgd": dict(momentum=0.0, decay=0.0),
        "sgd_decay": dict(momentum=0.0, decay=0.05),
        "sgd_momentum": dict(momentum=0.9, decay=5e-4),
        "sgd_nesterov": dict(momentum=0.9, decay=5e-4, nesterov=True),
    }
    for case, options in sgd.items():
        decay = options.pop("decay")
        run(tensors, case, lambda m, r: torch.optim.SGD(groups(m, r, decay), lr=1.0, **options))
    adamw = {
        "adamw": dict(betas=(0.9, 0.999), eps=1e-8),
        "adamw_short": dict(betas=(0.8, 0.95), eps=1e-3),
    }
    for case, options in adamw.items():
        run(tensors, case, lambda m, r: torch.optim.AdamW(groups(m, r, 0.1), lr=1.0, **options))


class Lars(torch.optim.Optimizer):
    """The rule of facebookresearch/mae's util/lars.py, written from its description: layer-wise rates for tensors of rank 2 and
    more, the learning rate outside the velocity."""

    def __init__(self, groups, momentum, trust):
        super().__init__(groups, dict(lr=1.0, weight_decay=0.0, momentum=momentum, trust=trust))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                direction = param.grad
                if param.dim() > 1:
                    direction = direction + group["weight_decay"] * param
                    norms = param.norm(), direction.norm()
                    if norms[0] > 0 and norms[1] > 0:
                        direction = direction * (group["trust"] * norms[0] / norms[1])
                state = self.state[param]
                velocity = state.setdefault("mu", torch.zeros_like(param))
                velocity.mul_(group["momentum"]).add_(direction)
                param.sub_(group["lr"] * velocity)


def lars(tensors):
    run(tensors, "lars", lambda m, r: Lars(groups(m, r, 0.05), momentum=0.9, trust=0.02))
    run(tensors, "lars_plain", lambda m, r: Lars(groups(m, r, 0.0), momentum=0.0, trust=0.001))


def clipping(tensors):
    for case, max_norm in [("clip", 0.5), ("clip_not", 100.0)]:
        params = [torch.nn.Parameter(value) for value in start().values()]
        for name, param in zip(SHAPES, params):
            param.grad = gradient(name, 0)
        norm = torch.nn.utils.clip_grad_norm_(params, max_norm)
        tensors[f"{case}.norm"] = norm
        for name, param in zip(SHAPES, params):
            tensors[f"{case}.{name}"] = param.grad


def factors(build, count, every=1):
    """The learning rate of `count` steps for a base of 1, the scheduler stepped `every` steps."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build(optimiser)
    values = []
    for step in range(count):
        values.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return torch.tensor(values, dtype=torch.float64)


def schedules(tensors):
    def warmup_cosine(optimiser, warmup, total, start_factor, final):
        linear = lrs.LinearLR(optimiser, start_factor, 1.0, total_iters=warmup)
        cosine = lrs.CosineAnnealingLR(optimiser, total - warmup, eta_min=final)
        return lrs.SequentialLR(optimiser, [linear, cosine], [warmup])

    tensors["schedule.warmup_cosine"] = factors(
        lambda o: warmup_cosine(o, 7, 50, 1.0 / 3.0, 1e-5), 51
    )
    tensors["schedule.warmup_cosine_by_epoch"] = factors(
        lambda o: warmup_cosine(o, 3, 10, 1.0 / 3.0, 1e-5), 51, every=5
    )
    tensors["schedule.cosine"] = factors(
        lambda o: lrs.CosineAnnealingLR(o, 30, eta_min=0.0), 31
    )
    tensors["schedule.step"] = factors(lambda o: lrs.MultiStepLR(o, [10, 25], gamma=0.2), 40)
    tensors["schedule.warmup_step"] = factors(
        lambda o: lrs.ChainedScheduler(
            [
                lrs.LinearLR(o, 0.1, 1.0, total_iters=5),
                lrs.MultiStepLR(o, [10, 25], gamma=0.2),
            ]
        ),
        40,
    )


if __name__ == "__main__":
    fixture = {}
    optimisers(fixture)
    lars(fixture)
    clipping(fixture)
    schedules(fixture)
    fixture_file.write("mr2-nn", "optim", "nn_optim.py", SEED, fixture)
