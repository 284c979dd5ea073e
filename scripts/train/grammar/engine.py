"""A small template grammar: tables of words, templates with choices, and the documents made from them.

A template holds choices `[one|another|]`, words `{table}` or `{table.column}`, the form that agrees with a word
`{color.@obj}` (the column named by obj's gender), and text by gender `{hero?he:she}` (m, f and perhaps n).
After expansion the first letter of every sentence is made a capital.

A language is a module with the tables ANIMALS NAMES OBJECTS COLORS PLACES FOODS TRAITS CITIES COUNTRIES and the
templates ASK PLOTS RECALL INTRO REMEMBER SMALL KNOW; MORE may add tables.
Among the words of a document are hero and friend (hname and fname are their names), pair (their common gender), obj,
color, home, spot, food, trait for stories, and uname, ucolor, ufood, upet, pname, city for what users say of themselves.
"""
import re

CHOICE = re.compile(r"\[([^\[\]]*)\]")
GENDER = re.compile(r"\{(\w+)\?([^{}:]*):([^{}:]*)(?::([^{}:]*))?\}")
WORD = re.compile(r"\{(\w+)(?:\.(@?)(\w+))?\}")
SENTENCE = re.compile(
    '(?:^|(?<=[^ ][.!?] )|(?<=\n)|(?<=[\u2600-\u27bf\ufe0f\U0001f300-\U0001faff] ))[«"„“¡¿]*[a-zà-öø-ÿа-яё]'
)


def table(columns, text):
    """Rows of `cell | cell`, one per line, as dictionaries."""
    names = columns.split()
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"{len(names)} columns are wanted: {row}")
    return [dict(zip(names, row)) for row in rows]


def expand(template, words, r, sentences=True):
    """The template's text, with r (a random.Random) taking the choices."""
    while True:
        text = CHOICE.sub(lambda m: r.choice(m.group(1).split("|")), template)
        if text == template:
            break
        template = text

    def by_gender(match):
        forms = match.groups()[1:]
        return forms["mfn".index(words[match.group(1)]["g"])]

    def word(match):
        row, agree, column = words[match.group(1)], match.group(2), match.group(3)
        if isinstance(row, str):
            return row
        if column is None:
            return next(value for key, value in row.items() if key not in ("g", "emoji"))
        return row[words[column]["g"] if agree else column]

    text = WORD.sub(word, GENDER.sub(by_gender, text))
    text = re.sub(" +", " ", text).strip()
    if not sentences:
        return text
    return SENTENCE.sub(lambda m: m.group(0)[:-1] + m.group(0)[-1].upper(), text)


class Cast:
    """A language with a small cast: the first rows of its tables, and one name for each animal.

    So small a model learns to keep apart a few things long before it learns to copy any word that it is told.
    """

    SIZES = {
        "ANIMALS": 6,
        "OBJECTS": 5,
        "COLORS": 5,
        "PLACES": 5,
        "FOODS": 4,
        "TRAITS": 6,
        "CITIES": 6,
        "COUNTRIES": 8,
    }

    def __init__(self, language):
        self.language = language
        for table, size in self.SIZES.items():
            setattr(self, table, getattr(language, table)[:size])
        left = list(language.NAMES)
        self.names = {}
        for i, animal in enumerate(self.ANIMALS):
            wanted = animal.get("g", "mf"[i % 2])
            name = next((n for n in left if n["g"] == wanted), left[0])
            left.remove(name)
            self.names[animal["emoji"]] = name
        self.NAMES = left[:3] + left[-3:]

    def __getattr__(self, name):
        return getattr(self.language, name)


def name_of(language, animal, r, taken=()):
    if isinstance(language, Cast):
        return language.names[animal["emoji"]]
    fitting = [n for n in language.NAMES if n["g"] == animal.get("g", n["g"]) and n not in taken]
    return r.choice(fitting)


def draw(language, r):
    """The facts of one document."""
    words = {}
    words["hero"], words["friend"] = r.sample(language.ANIMALS, 2)
    words["hname"] = name_of(language, words["hero"], r)
    words["fname"] = name_of(language, words["friend"], r, (words["hname"],))
    # where animals carry no gender of their own, the name decides
    words["hero"], words["friend"] = (
        dict(words[a], g=words[n]["g"]) for a, n in (("hero", "hname"), ("friend", "fname"))
    )
    words["pair"] = {"g": "f" if words["hero"]["g"] == words["friend"]["g"] == "f" else "m"}
    words["home"], words["spot"] = r.sample(language.PLACES, 2)
    for key, rows in (
        ("obj", "OBJECTS"),
        ("color", "COLORS"),
        ("food", "FOODS"),
        ("trait", "TRAITS"),
        ("uname", "NAMES"),
        ("ucolor", "COLORS"),
        ("ufood", "FOODS"),
        ("upet", "ANIMALS"),
        ("city", "CITIES"),
        ("country", "COUNTRIES"),
    ):
        words[key] = r.choice(getattr(language, rows))
    words["pname"] = name_of(language, words["upet"], r, (words["uname"],))
    for key, rows in getattr(language, "MORE", {}).items():
        words[key] = r.choice(rows)
    a, b = r.randint(1, 9), r.randint(1, 9)
    words["a"], words["b"], words["sum"] = str(a), str(b), str(a + b)
    return words


class Document:
    """Turns, and the places where an answer needs a fact from earlier: (turn, fact)."""

    def __init__(self):
        self.turns, self.recalls, self.known = [], [], set()

    def knows(self, words):
        """Remember what was drawn, to find where the text names it again."""
        for row in words.values():
            self.known.update(v for k, v in row.items() if k != "g") if isinstance(row, dict) else None

    def say(self, question, answer, fact=None):
        if fact is not None:
            self.recalls.append((len(self.turns), fact))
        self.turns.append((question, answer))

    def text(self):
        return "\n\n".join(f"User: {q}\n\nAssistant: {a}" for q, a in self.turns)

    def marks(self):
        """One byte per byte of the text: 1 where the text repeats what it has named before, or answers a question."""
        text = self.text().encode()
        marks = bytearray(len(text))
        for known in self.known:
            known = known.encode()
            at = text.find(known)
            while len(known) > 2 and at >= 0:
                at = text.find(known, at + len(known))
                if at >= 0:
                    marks[at : at + len(known)] = b"\1" * len(known)
        at = 0
        for q, a in self.turns:
            at = text.find(b"Assistant: ", at) + len(b"Assistant: ")
            length = len(a.encode())
            if length < 200:
                marks[at : at + length] = b"\1" * length
            at += length
        return bytes(marks)


def small(language, document, words, r, count):
    """Turns that need no memory."""
    for _ in range(count):
        if r.random() < 0.5:
            words = draw(language, r)
            question, answer = r.choice(language.KNOW)
        else:
            question, answer = r.choice(language.SMALL)
        document.say(expand(question, words, r), expand(answer, words, r))


def questions(document, words, r, choices, count):
    for fact, question, answer in r.sample(choices, min(count, len(choices))):
        document.say(expand(question, words, r), expand(answer, words, r), expand(fact, words, r, False))


def document(language, r):
    """A document and the key that decides whether it is for training or held out."""
    d, words, kind = Document(), draw(language, r), r.random()
    d.knows(words)
    if kind < 0.66:
        plot = r.choice(language.PLOTS)
        story = expand(language.JOIN.join(plot), words, r)
        d.say(expand(r.choice(language.ASK), words, r), story)
        if kind < 0.48:
            if r.random() < 0.25:
                small(language, d, words, r, 1)
            questions(d, words, r, language.RECALL, r.randint(1, 4))
        key = [words[k] for k in ("hero", "hname", "fname", "color", "obj", "home", "spot")]
    elif kind < 0.88:
        d.say(*(expand(t, words, r) for t in r.choice(language.INTRO)))
        small(language, d, words, r, r.randint(1, 4))
        questions(d, words, r, language.REMEMBER, r.randint(1, 3))
        key = [words[k] for k in ("uname", "city", "ucolor", "upet", "pname")]
    else:
        small(language, d, words, r, r.randint(1, 4))
        key = d.turns
    return d, repr(key)
