"""MNIST with PyTorch, eager: compiling takes longer than an epoch does."""

import race
import torch
from torch import nn
from torch.nn import functional as F

options = race.options()
torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)
X, labels, X_test, labels_test = map(torch.from_numpy, race.load(options.folder, options.threads))
a, b, c, d = race.WIDTHS
net = nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, d))
optimizer = torch.optim.SGD(net.parameters(), lr=race.LR, momentum=race.MOMENTUM, foreach=True)


def epoch():
    for rows in torch.randperm(len(X)).split(race.BATCH):
        optimizer.zero_grad()
        F.cross_entropy(net(X[rows]), labels[rows]).backward()
        optimizer.step()


@torch.inference_mode()
def accuracy():
    return (net(X_test).argmax(1) == labels_test).float().mean().item()


race.run(options, epoch, accuracy)
