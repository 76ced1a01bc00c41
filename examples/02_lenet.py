"""LeNet-5 on handwritten digits, with the model and the training loop written out.

    python examples/02_lenet.py [EPOCHS]

`minidl train` does the same with a progress bar; here every step is in sight.
"""

import sys

import numpy as np

import minidl as md
from minidl import data, nn, optim

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 10


class LeNet5(nn.Module):
    """32x32 images to ten scores; the paper's names for its layers."""

    def __init__(self):
        self.c1 = nn.Conv2d(1, 6, kernel_size=5, activation="relu")  # (N, 28, 28, 6)
        self.s2 = nn.MaxPool2d(2)  # (N, 14, 14, 6)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5, activation="relu")  # (N, 10, 10, 16)
        self.s4 = nn.MaxPool2d(2)  # (N, 5, 5, 16)
        self.flatten = nn.Flatten()  # (N, 400)
        self.c5 = nn.Linear(400, 120, activation="relu")
        self.f6 = nn.Linear(120, 84, activation="relu")
        self.output = nn.Linear(84, 10)

    def forward(self, x):
        x = self.s2(self.c1(x))
        x = self.s4(self.c3(x))
        x = self.c5(self.flatten(x))
        return self.output(self.f6(x))


def accuracy(model, loader):
    """The share of images whose largest score is that of the right digit."""
    model.eval()
    with md.no_grad():
        right = [model(x).data.argmax(axis=1) == y for x, y in loader]
    model.train()
    return np.concatenate(right).mean()


md.manual_seed(0)
training, test = data.digits()  # images (N, 32, 32, 1), labels (N,)
loader = data.DataLoader(training, batch_size=32, shuffle=True)
test_loader = data.DataLoader(test, batch_size=256)

model = LeNet5()
print(model)
print(f"{model.num_parameters:,} parameters")

loss_function = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

for epoch in range(1, EPOCHS + 1):
    losses = []
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    scheduler.step()
    print(
        f"epoch {epoch:2d}  loss {np.mean(losses):.4f}  "
        f"test accuracy {accuracy(model, test_loader):.4f}"
    )
