"""Photographs in: bytes of pictures (WebP) and of semantics at equal decisions, for a `$` block of docs/evidence.md: see refresh.py. Needs Pillow
(models/train/requirements.txt).

    python docs/photographs.py --images ../shared/data/camvid/train/image --labels ../shared/data/camvid/train/label --only 0001TP

The transmitter sees a photograph. Either it sends the picture, as WebP of 256x192 (what the perceiver takes), and the perceiver looks at what arrives; or the perceiver looks first, and the map is sent. The same
perceiver, the same rule; truth is the rule on the label map. A picture of several packets of 1 200 bytes is lost if one of them is; a map loses tiles, and the receiver fills in.
"""
import argparse
import os
import tempfile

from PIL import Image

from tables import asked, evaluated, percent

QUALITIES = [0, 5, 10, 20, 40, 60, 80]
SIZE = (256, 192)
PACKET = 1200
LOSSES = [0.1, 0.3]


def seen(args, images, *more):
    return evaluated(args, "--images", images, "--rows", "layout-only,gate 1", *more)["cases"]


def pictures(args):
    names = sorted(n for n in os.listdir(args.images) if n.startswith(args.only))
    return {os.path.splitext(n)[0]: Image.open(os.path.join(args.images, n)).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR) for n in names}


def line(what, size, clean, *delivered):
    """`clean`: the case of a channel that loses nothing."""
    f1, free = (percent(clean, "layout-only", metric) for metric in ("f1_rule", "free_error_rule"))
    print(f"{what:<28}{size:>8.0f}{f1:>10.1f}{free:>10.1f}" + "".join(f"{share:>18}" for share in delivered))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", required=True)
    p.add_argument("--labels", dest="maps", metavar="LABELS", required=True)
    p.add_argument("--fps", type=float, default=1, help="frames a second of these photographs (default: %(default)s)")
    p.add_argument("--only", default="")
    p.add_argument("--bundle", default="models/street")
    args = p.parse_args()
    shown = pictures(args)
    print(f"{'sent':<28}{'bytes':>8}{'F1':>10}{'free err':>10}" + "".join(f"{f'at {loss} of packets':>18}" for loss in LOSSES))
    for quality in QUALITIES:
        with tempfile.TemporaryDirectory() as folder:
            sizes = []
            for name, picture in shown.items():
                file = os.path.join(folder, name + ".webp")
                picture.save(file, "WEBP", quality=quality, method=6)
                sizes.append(os.path.getsize(file))
            [clean] = seen(args, folder, "--channel", "none")
        whole = [sum((1 - loss) ** -(-size // PACKET) for size in sizes) / len(sizes) for loss in LOSSES]
        line(f"WebP, quality {quality}", sum(sizes) / len(sizes), clean, *(f"{100 * share:.0f} % whole" for share in whole))
    for name, more in (("map", []), ("map, 250 bytes at most", ["--max-bytes", "250"]), ("map, 150 bytes at most", ["--max-bytes", "150"])):
        [clean, *lossy] = seen(args, args.images, *more, *asked(["none", *(f"tile-loss={loss}" for loss in LOSSES)]))
        line(name, clean["mean_bytes"], clean, *(f"F1 {percent(case, 'gate 1', 'f1_head'):.1f}" for case in lossy))


if __name__ == "__main__":
    main()
