"""How the rows stand to each other."""

from rows import THREADS, counted


class Ratios:
    def __init__(self, results):
        self.p50 = {key(result.row): result.p50 for result in results if result.p50}
        self.models = list(dict.fromkeys(result.row.model for result in results))

    def best_int8(self, engine, model, threads):
        found = [p50 for (e, m, form, t), p50 in self.p50.items() if (e, m, t) == (engine, model, threads) and is_int8(form)]
        return min(found, default=None)

    def to_int8(self, row):
        """The row's time over that of semrx's best int8 form."""
        return over(self.p50.get(key(row)), self.best_int8("semrx", row.model, row.threads))

    def to_same(self, row):
        """The row's time over that of semrx in the same form: its best int8 where it has none of that name, f32 for f16."""
        form = "f32" if row.form == "f16" else row.form
        same = self.p50.get(("semrx", row.model, form, row.threads))
        if same is None and is_int8(form):
            same = self.best_int8("semrx", row.model, row.threads)
        return over(self.p50.get(key(row)), same)

    def that_matter(self):
        """Pairs of a name and a ratio, None where one of the two is missing."""
        found = []
        for threads in THREADS:
            of = counted(threads)
            for model in self.models:
                ours, theirs = (self.best_int8(engine, model, threads) for engine in ("semrx", "onnxruntime"))
                found.append((f"onnxruntime int8 / semrx int8, {model}, {of}", over(theirs, ours)))
            ours, theirs = (self.p50.get((engine, "unet", "f32", threads)) for engine in ("semrx", "onnxruntime"))
            int8 = self.best_int8("semrx", "unet", threads)
            found.append((f"onnxruntime f32 / semrx int8, unet, {of}", over(theirs, int8)))
            found.append((f"semrx f32 / onnxruntime f32, unet, {of}", over(ours, theirs)))
        for model in self.models:
            one, two = (self.best_int8("semrx", model, threads) for threads in (1, 2))
            found.append((f"semrx int8 with 1 thread / with 2, {model}", over(one, two)))
        return found


def key(row):
    return row.engine, row.model, row.form, row.threads


def is_int8(form):
    return form.startswith("int8")


def over(a, b):
    return a / b if a and b else None
