"""`Perceive`: the classes of a photograph."""
import torch.nn.functional as F
from torch import nn

from data import NCLASS
from nets import up

IMAGE_WIDTH, IMAGE_HEIGHT = 256, 192


def normed(inputs, outputs, size=3, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = normed(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x):
        return F.relu(x + self.second(self.first(x)))


class Perceive(nn.Module):
    """A U-Net on 96x128 down to 6x8, of convolutions, batch norm and ReLU: what a perceiver on a board usually is."""

    def __init__(self, widths=(24, 48, 96, 160, 160)):
        super().__init__()
        self.inp = normed(3, widths[0], 5, 2)
        self.encoders = nn.ModuleList([Residual(widths[0]), Residual(widths[1]), nn.Sequential(Residual(widths[2]), Residual(widths[2])),
                                       nn.Sequential(Residual(widths[3]), Residual(widths[3])), Residual(widths[4])])
        pairs = list(zip(widths, widths[1:]))
        self.downs = nn.ModuleList([normed(a, b, 3, 2) for a, b in pairs])
        self.lifts = nn.ModuleList([normed(b, a, 1) for a, b in pairs])
        self.decoders = nn.ModuleList([Residual(a) for a, _ in pairs])
        self.drop = nn.Dropout2d(0.1)
        self.out = nn.Conv2d(widths[0], NCLASS, 1)

    def forward(self, image):
        """image [n,3,192,256], RGB in 0..1 -> class logits [n,12,96,128]."""
        h = self.inp(image * 4 - 2)
        kept = []
        for encode, down in zip(self.encoders, self.downs):
            h = encode(h)
            kept.append(h)
            h = down(h)
        h = self.drop(self.encoders[-1](h))
        for lift, decode, beside in zip(reversed(self.lifts), reversed(self.decoders), reversed(kept)):
            h = decode(up(lift(h)) + beside)
        return self.out(h)
