"""Writes crates/mr2-loss/tests/fixtures/baselines.safetensors: the rival methods in float64 PyTorch.

Losses are torch's own where it has them, else loops or the whole-batch form of the public code that is named.
The gradient of a loss per sample is that of the sum in which sample i counts i + 1 times.
Run from anywhere: python tests/reference/baselines.py
"""
import torch
import torch.nn.functional as F

import fixture_file
from hash_rng import normal_tensor, uniform_tensor

SEED = 20611
BATCH, CLASSES, DIM, VIEWS, STEPS = 12, 7, 5, 2, 5
COUNTS = torch.tensor([500.0, 300.0, 120.0, 60.0, 33.0, 9.0, 2.0], dtype=torch.float64)
# Class 4 is there once, classes 5 and 6 are not.
LABELS = torch.tensor([0, 1, 0, 2, 3, 0, 1, 2, 4, 0, 3, 1])
WEIGHTS = torch.tensor([0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0], dtype=torch.float64)


def normals(name, shape, size=1.0):
    """Exact in float32, so that both precisions start from the same numbers."""
    return (size * normal_tensor(SEED, name, shape)).float().double()


def leaf(tensor):
    return tensor.clone().requires_grad_()


def unsigned(tensor):
    return tensor.numpy().astype("uint32")


def ce(logits, labels, weight=None):
    return F.cross_entropy(logits, labels, weight=weight, reduction="none")


def put(tensors, name, input_, loss, objective=None):
    """The loss and the gradient; of `objective`, where autograd must not see all of the loss."""
    seen = loss if objective is None else objective
    if seen.dim() > 0:
        seen = (seen * torch.arange(1, len(seen) + 1)).sum()
    (grad,) = torch.autograd.grad(seen, input_, retain_graph=True)
    tensors[name], tensors[f"{name}.grad"] = loss, grad


def focal(tensors, z):
    for focusing in (0.5, 1.0, 2.0):
        p = F.softmax(z, 1)[torch.arange(BATCH), LABELS]
        plain = (1 - p) ** focusing * ce(z, LABELS)
        weighted = ce(z, LABELS, WEIGHTS)
        put(tensors, f"focal.plain.{focusing}", z, plain)
        put(tensors, f"focal.of_logits.{focusing}", z, plain * WEIGHTS[LABELS])
        # kaidic/LDAM-DRW losses.py
        put(tensors, f"focal.of_weighted_loss.{focusing}", z, (1 - torch.exp(-weighted)) ** focusing * weighted)


def priors(tensors, z):
    tensors["class_balanced_weights"] = (1 - 0.9999) / (1 - 0.9999**COUNTS)
    tensors["class_balanced_weights"] *= CLASSES / tensors["class_balanced_weights"].sum()
    put(tensors, "weighted_cross_entropy", z, ce(z, LABELS, WEIGHTS))
    put(tensors, "class_weighted_mean", z, F.cross_entropy(z, LABELS, weight=WEIGHTS))
    log_prior = torch.log(COUNTS / COUNTS.sum())
    for tau in (0.5, 1.0, 2.0):
        put(tensors, f"logit_adjusted.{tau}", z, ce(z + tau * log_prior, LABELS))
    put(tensors, "balanced_softmax", z, ce(z + torch.log(COUNTS), LABELS))
    adjusted = z - 1.5 * log_prior
    tensors["post_hoc_adjusted"] = F.log_softmax(adjusted, 1)
    # orparask/VS-Loss losses.py
    inverse = (1.0 / COUNTS) ** 0.3
    put(tensors, "vector_scaling", z, ce(z / (inverse / inverse.min()) + 1.2 * log_prior, LABELS))


def ldam(tensors):
    # kaidic/LDAM-DRW losses.py
    margins = 1.0 / torch.sqrt(torch.sqrt(COUNTS))
    margins = margins * (0.5 / margins.max())
    tensors["ldam.margins"] = margins
    tensors["cosines"] = (2 * uniform_tensor(SEED, "cosines", (BATCH, CLASSES)) - 1).float().double()
    for name, weight in (("plain", None), ("weighted", WEIGHTS)):
        cosines = leaf(tensors["cosines"])
        is_label = F.one_hot(LABELS, CLASSES).bool()
        moved = torch.where(is_label, cosines - margins[LABELS][:, None], cosines)
        put(tensors, f"ldam.{name}", cosines, ce(30 * moved, LABELS, weight))


def supcon(tensors):
    tensors["views"] = normals("views", (BATCH, VIEWS, DIM), 2.0)
    for name, count, temperature, base in (("two", 2, 0.1, 0.07), ("one", 1, 0.5, 0.5)):
        x = leaf(tensors["views"])
        anchors = F.normalize(x[:, :count].reshape(-1, DIM), dim=1)
        labels = LABELS.repeat_interleave(count).tolist()
        terms = []
        for i, anchor in enumerate(anchors):
            others = [j for j in range(len(anchors)) if j != i]
            against = torch.logsumexp(anchors[others] @ anchor / temperature, 0)
            logs = [anchors[j] @ anchor / temperature - against for j in others if labels[j] == labels[i]]
            mean = torch.stack(logs).mean() if logs else torch.zeros((), dtype=torch.float64)
            terms.append(-(temperature / base) * mean)
        put(tensors, f"supcon.{name}", x, torch.stack(terms))


def centre(tensors):
    tensors["features"] = normals("features", (STEPS, BATCH, DIM))
    tensors["centres"] = normals("centres", (CLASSES, DIM))
    x = leaf(tensors["features"][0])
    put(tensors, "centre_loss", x, ((x - tensors["centres"][LABELS]) ** 2).sum(1))
    # KaiyangZhou/pytorch-center-loss center_loss.py: masked, then clamped, then the mean over the batch.
    distances = ((x[:, None] - tensors["centres"][None]) ** 2).sum(2) * F.one_hot(LABELS, CLASSES)
    tensors["centre_loss.upstream"] = distances.clamp(min=1e-12, max=1e12).sum() / BATCH
    # main.py there: the gradient of the centres is divided by the weight of the loss.
    weight, centres = 0.003, leaf(tensors["centres"])
    sgd = torch.optim.SGD([centres], lr=0.5)
    for features in tensors["features"]:
        sgd.zero_grad()
        (weight * ((features - centres[LABELS]) ** 2).sum(1).mean()).backward()
        centres.grad *= 1 / weight
        sgd.step()
    tensors["centres.after"] = centres


def group_dro(tensors, batches):
    """kohpangwei/group_DRO loss.py; `skip` keeps the weight of classes that are not there."""
    for absent in ("zero", "skip"):
        q = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
        history = []
        for step, logits in enumerate(batches):
            labels = LABELS.roll(step) if step % 2 == 0 else (LABELS + step) % CLASSES
            z = leaf(logits)
            member = F.one_hot(labels, CLASSES).double().T
            count = member.sum(1)
            means = (member @ ce(z, labels)) / (count + (count == 0).double())
            grown = q * torch.exp(0.5 * means.detach())
            there = count > 0
            if absent == "zero":
                q = grown / grown.sum()
            else:
                q = torch.where(there, grown / grown[there].sum() * q[there].sum(), q)
            history.append(q)
        tensors[f"group_dro.{absent}.weights"] = torch.stack(history)
        put(tensors, f"group_dro.{absent}", z, means @ q)
    tensors["group_dro.means"] = means


def cvar(tensors, z):
    """daniellevy/fast-dro robust_losses.py without regularisation."""
    for alpha in (0.05, 0.1, 0.25, 0.37, 1.0):
        losses = ce(z, LABELS)
        cutoff = int(alpha * BATCH)
        order = torch.argsort(losses, descending=True)
        p = torch.zeros(BATCH, dtype=torch.float64)
        p[order[:cutoff]] = 1 / (alpha * BATCH)
        if cutoff < BATCH:
            p[order[cutoff]] = 1 - cutoff / (alpha * BATCH)
        put(tensors, f"cvar.{alpha}", z, losses @ p)


def lff(tensors, z, batches):
    """alinlab/LfF train.py, util.py and module/loss.py; the gradient of the biased loss by its closed form."""
    p = F.softmax(z, 1)[torch.arange(BATCH), LABELS]
    put(tensors, "generalized_cross_entropy", z, 0.7 * p.detach() ** 0.7 * ce(z, LABELS), 1 - p**0.7)

    samples = 20
    labels = torch.arange(samples) * 3 % CLASSES
    average = torch.zeros((2, samples), dtype=torch.float64)
    seen = torch.zeros((2, samples), dtype=torch.float64)
    indices, averages, weights = [], [], []
    for step in range(STEPS):
        # Each batch shares most of its samples with the one before; 18 and 19 are never there.
        index = (torch.arange(BATCH) + 3 * step) % 18
        # The debiased network's logits are the biased one's in reverse order of samples.
        networks = (leaf(batches[step]), leaf(batches[step].flip(0)))
        normalised = []
        for net, logits in enumerate(networks):
            loss = ce(logits, labels[index]).detach()
            average[net, index] = 0.7 * average[net, index] + (1 - 0.7 * seen[net, index]) * loss
            seen[net, index] = 1
            largest = torch.stack([average[net, labels == k].max() for k in range(CLASSES)])
            normalised.append(average[net, index] / largest[labels[index]])
        weight = normalised[0] / (normalised[0] + normalised[1] + 1e-8)
        indices.append(index)
        averages.append(average.clone())
        weights.append(weight)
    p = F.softmax(networks[0], 1)[torch.arange(BATCH), labels[index]]
    biased = (0.7 * p.detach() ** 0.7 * ce(networks[0], labels[index])).mean()
    debiased = (weight * ce(networks[1], labels[index])).mean()
    grads = torch.autograd.grad(biased + debiased, networks)
    tensors["lff.labels"], tensors["lff.indices"] = unsigned(labels), unsigned(torch.stack(indices))
    tensors["lff.average"], tensors["lff.weights"] = torch.stack(averages), torch.stack(weights)
    tensors["lff.total"] = biased + debiased
    tensors["lff.biased.grad"], tensors["lff.debiased.grad"] = grads


def sharpness(tensors):
    """davda54/sam sam.py and SamsungLabs/ASAM asam.py with plain SGD on a linear model."""
    x = normals("sam.x", (BATCH, DIM))
    tensors["sam.x"] = x
    tensors["sam.weight"], tensors["sam.bias"] = normals("sam.weight", (CLASSES, DIM)), normals("sam.bias", (CLASSES,))
    for method in ("sam", "asam"):
        params = {name: leaf(tensors[f"sam.{name}"]) for name in ("weight", "bias")}

        def gradients():
            return torch.autograd.grad(
                F.cross_entropy(x @ params["weight"].T + params["bias"], LABELS), list(params.values()))

        for _ in range(STEPS):
            grads = gradients()
            with torch.no_grad():
                if method == "sam":
                    norm = torch.cat([g.flatten() for g in grads]).norm()
                    steps = [0.1 * g / (norm + 1e-12) for g in grads]
                else:
                    scale = [params["weight"].abs() + 0.01, torch.ones(CLASSES, dtype=torch.float64)]
                    norm = torch.cat([(t * g).flatten() for t, g in zip(scale, grads)]).norm()
                    steps = [1.0 * t**2 * g / (norm + 1e-16) for t, g in zip(scale, grads)]
                before = [p.clone() for p in params.values()]
                for p, step in zip(params.values(), steps):
                    p += step
            grads = gradients()
            with torch.no_grad():
                for p, start, g in zip(params.values(), before, grads):
                    p.copy_(start - 0.3 * g)
        for name, p in params.items():
            tensors[f"{method}.{name}.after"] = p


def main():
    batches = normals("logits", (STEPS, BATCH, CLASSES), 3.0)
    tensors = {"logits": batches, "labels": unsigned(LABELS), "counts": COUNTS, "weights": WEIGHTS}
    z = leaf(batches[0])
    focal(tensors, z)
    priors(tensors, z)
    ldam(tensors)
    supcon(tensors)
    centre(tensors)
    group_dro(tensors, batches)
    cvar(tensors, z)
    lff(tensors, z, batches)
    sharpness(tensors)
    fixture_file.write("mr2-loss", "baselines", "baselines.py", SEED, tensors)


if __name__ == "__main__":
    main()
