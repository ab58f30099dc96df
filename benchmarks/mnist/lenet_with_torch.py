"""LeNet-5 on MNIST with PyTorch, eager mode, channels last; torch.compile is not faster here."""

import race
import torch
from torch import nn
from torch.nn import functional as F

options = race.options()
torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)
X, labels, X_test, labels_test = map(torch.from_numpy, race.load(options.folder, options.threads))
X, X_test = (
    images.view(-1, 1, 28, 28).contiguous(memory_format=torch.channels_last) for images in (X, X_test)
)
net = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(6, 16, 5),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(400, 120),
    nn.ReLU(),
    nn.Linear(120, 84),
    nn.ReLU(),
    nn.Linear(84, 10),
).to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(net.parameters(), lr=race.LENET_LR, momentum=race.MOMENTUM, foreach=True)


def epoch():
    for rows in torch.randperm(len(X)).split(race.BATCH):
        optimizer.zero_grad()
        F.cross_entropy(net(X[rows]), labels[rows]).backward()
        optimizer.step()
    for group in optimizer.param_groups:
        group["lr"] *= race.LENET_DECAY


@torch.inference_mode()
def accuracy():
    return (net(X_test).argmax(1) == labels_test).float().mean().item()


race.run(options, epoch, accuracy)
