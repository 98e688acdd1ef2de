"""Tables of docs/evidence.md that follow from `semrx eval`, for its `$` blocks: see refresh.py.

    python docs/tables.py bars --maps DIR --only 0001TP --fps 1 [--bundle models/street]     # what the bars asked, and what came
    python docs/tables.py snr --maps DIR --only 0001TP --fps 1                      # the SNR of soft payloads, told and estimated
    python docs/tables.py samplers --maps DIR --only 0001TP --fps 1                 # the bars of samplers, caches and depth
    python docs/tables.py rate --maps DIR --only 0001TP --fps 1                     # frames of so many bytes at most
    python docs/tables.py delta --maps DIR                                           # what changed since the last key frame, for whole frames
    python docs/tables.py cut --maps DIR --only 0001TP --fps 1                      # blocks, phases and parity at equal bytes
    python docs/tables.py gate --maps DIR --only 0001TP --fps 1                     # what the gate spares, and what that costs
    python docs/tables.py modes --maps DIR --only 0001TP --fps 1                    # the modes beside each other, in int8 and in float
    python docs/tables.py held --maps DIR                                            # the held scene beside the networks
    python docs/tables.py tokens --maps DIR --only 0001TP --fps 1                   # boxes in the place of maps
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile

SOFT = ["sigma=0.05", "sigma=0.22", "sigma=0.36", "sigma=0.9", "sigma=2", "tile-loss=0.5,sigma=0.9"]
RATES = [None, 350, 300, 250, 200, 150, 120]
SOFT_BARS = ["sigma=0.9", "sigma=1.3", "sigma=2"]


def evaluated(args, *more):
    run = ["semrx", "eval", "--bundle", args.bundle, "--maps", args.maps, "--only", args.only, "--fps", str(args.fps), "--json", *more]
    return json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def asked(channels):
    return [word for channel in channels for word in ("--channel", channel)]


def sampled(args, bundle, *more):
    """What the bench of samplers measures, by sampler, steps and the cache's name."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run = ["cargo", "bench", "--quiet", "--bench", "samplers", "--", "--maps", args.maps, "--only", args.only, "--fps", str(args.fps), "--bundle", bundle,
               "--channel", "tile-loss=0.5", "--json", file.name, *more]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = json.load(file)["rows"]
    return {(row["sampler"], row["steps"], row["cache"].split(":")[0]): row for row in rows}


def percent(case, row, metric):
    return 100 * next(one for one in case["rows"] if one["row"] == row)[metric]["value"]


def line(*cells):
    print(f"{cells[0]:<80}{cells[1]:<22}{cells[2]:<34}{cells[3]}")


def met(is_met):
    return "met" if is_met else "missed"


def bars(args):
    rows = "prior,nearest-fill,argmax,fds,hybrid 2,hybrid 4"
    cases = {case["channel"] + ("" if case["payload"] == "map" else " soft"): {row["row"]: row for row in case["rows"]} for case in evaluated(args, "--rows", rows)["cases"]}
    of = lambda case, row, metric: 100 * cases[case][row][metric]["value"]
    line("bar", "asked", "measured, hybrid 1", "")
    agreement = of("none", "semantic_first", "agreement_head")
    line("head agrees with the rule at zero loss, zone x type pairs", ">= 99 %", f"{agreement:.2f} %", met(agreement >= 99))
    for loss in ("tile-loss=0.5", "tile-loss=0.7"):
        gains = []
        for metric in ("miou_lost", "accuracy_lost"):
            gains.append(of(loss, "hybrid 1", metric) - max(of(loss, row, metric) for row in ("prior", "nearest-fill")))
        name = f"lost cells, {loss}, over the better of prior and nearest-fill"
        line(name, "+6, +2 points", f"{gains[0]:+.1f}, {gains[1]:+.1f} (mIoU, accuracy)", met(gains[0] >= 6 and gains[1] >= 2))
    gains = [of(sigma + " soft", "hybrid 1", "miou_all") - of(sigma + " soft", "fds", "miou_all") for sigma in SOFT_BARS]
    line("soft, mIoU over fds at sigma .9, 1.3, 2", "+5 points", ", ".join(f"{gain:+.1f}" for gain in gains), met(min(gains) >= 5))
    soft = [case for case in cases if case.endswith(" soft")]
    below = {case: of(case, "hybrid 1", "miou_all") - max(of(case, row, "miou_all") for row in ("argmax", "fds")) for case in soft}
    worst = min(below, key=below.get)
    line("soft, mIoU below the better of argmax and fds", "nowhere", f"worst: {worst.removesuffix(' soft')}, {below[worst]:+.2f}", met(below[worst] > -0.005))
    paired = {(case, row): rows[row]["f1_head_minus_semantic_first"] for case, rows in cases.items() for row in rows if row.startswith("hybrid")}
    paired = {point: change for point, change in paired.items() if change}
    point = min(paired, key=lambda point: paired[point]["value"])
    clear = [point for point, change in paired.items() if change["high"] < 0]
    value, low, high = (100 * paired[point][key] for key in ("value", "low", "high"))
    line("hazard F1 of hybrid below semantic_first beyond the paired interval", "nowhere", f"{len(clear)} of {len(paired)} points", met(not clear))
    print(f"  worst: {point[1]}, {point[0]}, {value:+.1f} [{low:+.1f}, {high:+.1f}]")


def snr(args):
    channels = asked(SOFT)
    told, blind = (evaluated(args, *channels, "--rows", "semantic_first", *more)["cases"] for more in ([], ["--blind-snr"]))
    print(f"{'channel':<26}{'told, dB off':>16}{'estimated':>16}{'F1 semantic_first':>20}{'F1 hybrid 1':>16}{'mIoU hybrid 1':>16}")
    for told, blind in zip(told, blind):
        off = lambda case: f"{case['snr_error_db']['mean']:.3f}, {case['snr_error_db']['most']:.3f}"
        both = lambda row, metric: f"{percent(told, row, metric):.1f} / {percent(blind, row, metric):.1f}"
        print(f"{told['channel']:<26}{off(told):>16}{off(blind):>16}{both('semantic_first', 'f1_head'):>20}{both('hybrid 1', 'f1_head'):>16}{both('hybrid 1', 'miou_all'):>16}")


def samplers(args):
    line("bar", "asked", "measured", "")
    draws = ["--samples", "4", "--caches", "none"]
    two = sampled(args, args.bundle, *draws, "--samplers", "consistency", "--steps", "2")[("consistency", 2, "none")]
    fifty = sampled(args, args.bundle, *draws, "--samplers", "ddim", "--steps", "50")[("ddim", 50, "none")]
    for energy, name in (("energy", "cells"), ("energy_blocks", "blocks"), ("energy_drawn", "cells, drawn"), ("energy_blocks_drawn", "blocks, drawn")):
        ratio = two[energy] / fifty[energy]
        line(f"energy score of consistency 2 over that of ddim 50, by {name}", "<= 1.05", f"{ratio:.2f}", met(ratio <= 1.05))
    for bundle in (args.bundle, "models/street-float"):
        for sampler, caches in (("ddim", "none,turns,bounded"), ("consistency", "none,bounded")):
            rows = sampled(args, bundle, "--samples", "1", "--samplers", sampler, "--steps", "20", "--caches", caches)
            for (_, _, cache), row in rows.items():
                if cache == "none":
                    continue
                saving, agreement = row["steps"] / row["asked"], 100 * row["agreement"]
                name = f"{cache}, {sampler} {row['steps']}, {bundle}: fewer MACs, lost cells as without"
                line(name, ">= 2.5 x at >= 98 %", f"{saving:.2f} x at {agreement:.2f} %", met(saving >= 2.5 and agreement >= 98))
    depth = next(row for row in evaluated(args, "--depth")["depth"] if (row["mode"], row["channel"]) == ("hybrid", "all"))
    fewer, agreement = 100 * (1 - depth["steps"][1] / depth["steps"][0]), 100 * depth["agreement"]
    line("depth, adaptive beside fixed, 4 steps: fewer steps, hazards as before", ">= 30 % at >= 99.5 %", f"{fewer:.1f} % at {agreement:.2f} %", met(fewer >= 30 and agreement >= 99.5))


def rate(args):
    print(f"{'most bytes':<12}{'bytes':>8}{'mIoU of the map':>18}{'F1 rule':>10}{'free err':>10}{'F1 semantic_first':>20}{'free err':>10}{'F1 hybrid 1':>14}{'mIoU':>8}")
    for most in RATES:
        [case] = evaluated(args, "--channel", "tile-loss=0", "--rows", "layout-only", *(["--max-bytes", str(most)] if most else []))["cases"]
        of = lambda row, metric: percent(case, row, metric)
        print(f"{most or 'any':<12}{case['mean_bytes']:>8.0f}{of('layout-only', 'miou_all'):>18.1f}{of('layout-only', 'f1_rule'):>10.1f}{of('layout-only', 'free_error_rule'):>10.1f}"
              f"{of('semantic_first', 'f1_head'):>20.1f}{of('semantic_first', 'free_error_head'):>10.1f}{of('hybrid 1', 'f1_head'):>14.1f}{of('hybrid 1', 'miou_all'):>8.1f}")


def delta(args):
    print(f"{'channel':<16}{'sent':<12}{'bytes':>8}{'of whole':>10}{'mIoU of the map':>18}{'F1 rule':>10}{'free err':>10}{'F1 semantic_first':>20}{'free err':>10}{'F1 hybrid 1':>14}")
    channels = ["none", "tile-loss=0.05", "tile-loss=0.1", "tile-loss=0.3"]
    kinds = {"whole": [], "delta all": ["--delta", "all"], "delta task": ["--delta", "task"]}
    cases = {name: evaluated(args, *asked(channels), "--rows", "layout-only", *more)["cases"] for name, more in kinds.items()}
    for index, channel in enumerate(channels):
        for name in kinds:
            case, whole = cases[name][index], cases["whole"][index]
            of = lambda row, metric: percent(case, row, metric)
            print(f"{channel:<16}{name:<12}{case['mean_bytes']:>8.0f}{100 * case['mean_bytes'] / whole['mean_bytes']:>8.1f} %{of('layout-only', 'miou_all'):>18.1f}{of('layout-only', 'f1_rule'):>10.1f}"
                  f"{of('layout-only', 'free_error_rule'):>10.1f}{of('semantic_first', 'f1_head'):>20.1f}{of('semantic_first', 'free_error_head'):>10.1f}{of('hybrid 1', 'f1_head'):>14.1f}")


def cut(args):
    channels = ["tile-loss=0.05", "tile-loss=0.1", "tile-loss=0.2", "tile-loss=0.3", "tile-loss=0.5", "tile-loss=0.7", "tile-loss=0.2,burst=4", "tile-loss=0.5,burst=4"]
    cuts = {"blocks": [], "blocks, 1 of parity": ["--parity", "1"], "blocks, 2 of parity": ["--parity", "2"], "phases": ["--cut", "phases"], "phases, 1 of parity": ["--cut", "phases", "--parity", "1"]}
    print(f"{'F1, 360 bytes at most':<34}{'bytes':>8}" + "".join(f"{channel.replace('tile-loss=', ''):>14}" for channel in channels) + f"{'mean':>8}")
    found = {name: evaluated(args, *asked(channels), "--rows", "nearest-fill", "--max-bytes", "360", *more)["cases"] for name, more in cuts.items()}
    for row, metric in (("hybrid 1", "f1_head"), ("nearest-fill", "f1_rule")):
        for name, cases in found.items():
            scores = [percent(case, row, metric) for case in cases]
            print(f"{name + ', ' + row.split()[0]:<34}{cases[0]['mean_bytes']:>8.0f}" + "".join(f"{score:>14.1f}" for score in scores) + f"{sum(scores) / len(scores):>8.1f}")


def with_doubts(bundle, doubts, folder):
    """A copy of the bundle whose gate has other thresholds."""
    copy = os.path.join(folder, "bundle")
    shutil.copytree(bundle, copy)
    path = os.path.join(copy, "bundle.json")
    with open(path) as f:
        manifest = json.load(f)
    for gate_bin, doubt in zip(manifest["gate"]["calibrated"]["bins"], doubts.split(",")):
        gate_bin["doubt_permille"] = round(1000 * float(doubt))
    with open(path, "w") as f:
        json.dump(manifest, f)
    return copy


def gate(args):
    with tempfile.TemporaryDirectory() as folder:
        if args.doubts:
            args.bundle = with_doubts(args.bundle, args.doubts, folder)
        gate_table(args)


def gate_table(args):
    cases = evaluated(args, "--rows", "gate 1,gate 1 steady")["cases"]
    rows = [{row["row"]: row for row in case["rows"]} for case in cases]
    mean = lambda name, value: sum(value(row[name]) for row in rows) / len(rows)
    print(f"{len(rows)} channels, the same number of frames each")
    print(f"{'row':<20}{'F1 head':>10}{'free err':>10}{'MMAC':>8}{'generated':>11}{'skipped':>10}{'spared':>9}{'worse':>8}{'flips':>8}")
    every = mean("hybrid 1", lambda row: row["generated"])
    for name in ("semantic_first", "hybrid 1", "gate 1", "gate 1 steady"):
        generated = mean(name, lambda row: row["generated"])
        worse = f"{100 * mean(name, lambda row: row['gate_risk']):>6.1f} %" if name == "gate 1" else f"{'':>8}"
        print(f"{name:<20}{100 * mean(name, lambda row: row['f1_head']['value']):>10.2f}{100 * mean(name, lambda row: row['free_error_head']['value']):>10.2f}{mean(name, lambda row: row['mean_macs']) / 1e6:>8.0f}"
              f"{100 * generated:>9.1f} %{100 * (1 - generated):>8.1f} %{100 * (1 - generated / every):>7.1f} %{worse}{mean(name, lambda row: row['flips_head']):>8.2f}")
    print(f"hazards that change from a frame to the next in truth: {mean('gate 1', lambda row: row['flips_truth']):.2f}; worst channel of the gate: "
          f"{100 * max(row['gate 1']['gate_risk'] for row in rows):.1f} % of the frames decided worse")


def modes(args):
    rows = ["layout-only", "fds", "semantic_first", "hybrid 1", "latent", "view 8"]
    channels = ["none", "tile-loss=0.3", "tile-loss=0.5", "tile-loss=0.7", *(f"sigma={sigma}" for sigma in ("0.05", "0.08", "0.13", "0.22", "0.36", "0.6", "0.9"))]
    of = lambda row, metric: f"{100 * row[metric]['value']:.1f}" if row[metric] else "-"
    for bundle in (args.bundle, "models/street-float"):
        args.bundle = bundle
        cases = evaluated(args, *asked(channels), "--rows", ",".join(rows))["cases"]
        print(f"{bundle}\n{'F1 head (rule where there is no head)':<40}" + "".join(f"{row:>16}" for row in rows) + f"{'mIoU fds':>12}{'hybrid 1':>10}{'view 8':>10}{'F1 rule, view 8':>18}")
        for case in cases:
            found = {row["row"]: row for row in case["rows"]}
            f1 = [found[row]["f1_head"] or found[row]["f1_rule"] if row in found else None for row in rows]
            name = f"{case['payload']}, {case['channel']}"
            print(f"{name:<40}" + "".join(f"{100 * score['value']:>16.1f}" if score else f"{'-':>16}" for score in f1)
                  + "".join(f"{of(found[row], 'miou_all') if row in found else '-':>{width}}" for row, width in (("fds", 12), ("hybrid 1", 10), ("view 8", 10))) + f"{of(found['view 8'], 'f1_rule'):>18}")
        lossy = [{row["row"]: row for row in case["rows"]} for case in cases if "tile-loss" in case["channel"]]
        macs = {row: sum(found[row]["mean_macs"] for found in lossy) / len(lossy) / 1e6 for row in ("semantic_first", "hybrid 1", "latent", "view 8")}
        print("M MACs where tiles are lost: " + ", ".join(f"{row} {mean:.0f}" for row, mean in macs.items()))
        ratio = macs["latent"] / macs["view 8"]
        utility = [sum(100 * found[row]["f1_head"]["value"] for found in lossy) / len(lossy) for row in ("latent", "view 8")]
        print(f"latent takes {ratio:.3f} of view's MACs; F1 {utility[0]:.1f} and {utility[1]:.1f}: {met(ratio <= 0.1 and utility[0] >= utility[1])}")


def held(args):
    channels = ["tile-loss=0.3", "tile-loss=0.5", "tile-loss=0.7", "tile-loss=0.5,burst=4"]
    rows = ["nearest-fill", "hold", "hold-nearest", "hybrid 1"]
    print(f"{'channel':<24}{'mIoU of lost cells: ':<20}" + "".join(f"{row:>14}" for row in rows) + f"{'F1: hold, rule':>18}{'semantic_first':>16}{'hybrid 1':>12}")
    for case in evaluated(args, *asked(channels), "--rows", ",".join(rows))["cases"]:
        of = lambda row, metric: percent(case, row, metric)
        print(f"{case['channel']:<44}" + "".join(f"{of(row, 'miou_lost'):>14.1f}" for row in rows) + f"{of('hold', 'f1_rule'):>18.1f}{of('semantic_first', 'f1_head'):>16.1f}{of('hybrid 1', 'f1_head'):>12.1f}")


def tokens(args):
    channels = ["none", "tile-loss=0.1", "tile-loss=0.3", "tile-loss=0.5"]
    print(f"{'channel':<16}{'sent':<10}{'bytes':>8}{'F1 rule':>10}{'free err':>10}{'F1 semantic_first':>20}{'free err':>10}{'F1 hybrid 1':>14}")
    kinds = {name: evaluated(args, *asked(channels), "--rows", "layout-only", *more)["cases"] for name, more in (("map", []), ("tokens", ["--tokens"]))}
    for index, channel in enumerate(channels):
        for name, cases in kinds.items():
            case = cases[index]
            of = lambda row, metric: percent(case, row, metric)
            print(f"{channel:<16}{name:<10}{case['mean_bytes']:>8.0f}{of('layout-only', 'f1_rule'):>10.1f}{of('layout-only', 'free_error_rule'):>10.1f}"
                  f"{of('semantic_first', 'f1_head'):>20.1f}{of('semantic_first', 'free_error_head'):>10.1f}{of('hybrid 1', 'f1_head'):>14.1f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("table", choices=["bars", "snr", "samplers", "rate", "delta", "cut", "gate", "modes", "tokens", "held"])
    p.add_argument("--maps", required=True)
    p.add_argument("--only", default="")
    p.add_argument("--fps", type=float, default=10, help="frames a second of these maps (default: %(default)s)")
    p.add_argument("--bundle", default="models/street")
    p.add_argument("--doubts", help="of the table gate: thresholds of its bins, in the place of the bundle's")
    args = p.parse_args()
    {"bars": bars, "snr": snr, "samplers": samplers, "rate": rate, "delta": delta, "cut": cut, "gate": gate, "modes": modes, "tokens": tokens, "held": held}[args.table](args)


if __name__ == "__main__":
    main()
