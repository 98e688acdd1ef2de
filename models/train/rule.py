"""The rule: turns a label map into truth, in integers.

Free space: 16 columns, how far up from the bottom edge the road stays drivable, as a fraction of the height.
Hazard: 9 ego-corridor zones x 3 types, index = zone * 3 + type.
Class 255 stands for a cell that did not arrive: it counts as nothing at all.
"""
import numpy as np

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist", "unlabelled"]
SKY, ROAD, UNLABELLED, UNKNOWN = 0, 3, 11, 255
TYPES = {"vehicle": [8], "person": [9, 10], "structure": [1, 2, 6, 7]}
BANDS = ["near", "middle", "far"]
SIDES = ["left", "centre", "right"]
PAIRS = [f"{b}-{s} {t}" for b in BANDS for s in SIDES for t in TYPES]
COLUMNS = 16


def zones(width, height):
    """Zone of each cell, [height, width] int, -1 outside every zone."""
    zone = np.full((height, width), -1, np.int64)
    u = 2 * np.arange(width) + 1
    for y in range(height):
        v = 2 * y + 1
        share = 1000 * v
        if share >= 750 * 2 * height:
            band = 0
        elif share >= 600 * 2 * height:
            band = 1
        elif share >= 500 * 2 * height:
            band = 2
        else:
            continue
        reach = 8 * width * v - 6 * width * height
        dist = 20 * height * np.abs(u - width)
        side = np.where(u < width, 0, 2)
        row = np.where(dist < reach, 1, side)
        zone[y] = np.where(dist < 3 * reach, 3 * band + row, -1)
    return zone


def zone_needs(zone):
    """Cells of each zone, and how many must say so for a type to be present."""
    cells = np.array([(zone == z).sum() for z in range(9)])
    return cells, np.maximum(4, cells // 50)


def hazards(maps):
    """maps [n, height, width] -> [n, 27] bool."""
    zone = zones(maps.shape[2], maps.shape[1])
    _, needs = zone_needs(zone)
    out = np.zeros((len(maps), 27), bool)
    for t, classes in enumerate(TYPES.values()):
        said = np.isin(maps, classes)
        for z in range(9):
            out[:, 3 * z + t] = said[:, zone == z].sum(1) >= needs[z]
    return out


def free_space(maps):
    """maps [n, height, width] -> [n, 16] float, rows passed / height."""
    n, height, width = maps.shape
    edges = [c * width // COLUMNS for c in range(COLUMNS + 1)]
    out = np.zeros((n, COLUMNS), np.float32)
    for c in range(COLUMNS):
        band = maps[:, :, edges[c]:edges[c + 1]]
        size = band.shape[2]
        road = (band == ROAD).sum(2)
        unlabelled = (band == UNLABELLED).sum(2)
        drivable = ((road > 0) & (2 * road >= size - unlabelled))[:, ::-1]
        own = (unlabelled == size)[:, ::-1]
        for f in range(n):
            y = 0
            while y < height and own[f, y]:
                y += 1
            bonnet = y
            while y < height and drivable[f, y]:
                y += 1
            out[f, c] = 0 if y == bonnet else y / height
    return out
