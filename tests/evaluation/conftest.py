"""A collection of thirty documents in the layout of BEIR, and its index, made with the real encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bicross

ANIMALS = {
    "ant": "lives in colonies with a queen and carries leaves many times its own weight",
    "bat": "flies at night and finds insects by the echo of its own cries",
    "bear": "sleeps through the winter in a den and eats salmon and berries",
    "beaver": "builds dams of wood across rivers and swims with a flat tail",
    "camel": "stores fat in its hump and walks for days through the desert without drinking",
    "cheetah": "is the fastest runner on land and hunts gazelles by day",
    "chameleon": "changes the colour of its skin and catches flies with its long tongue",
    "crow": "solves puzzles, uses tools and remembers the faces of people",
    "dolphin": "breathes air, hunts fish in groups and calls others by whistles",
    "eagle": "sees a rabbit from two kilometres above and builds its nest on cliffs",
    "eel": "swims across an ocean to lay its eggs, and some give electric shocks",
    "elephant": "drinks through its trunk, mourns its dead and is the heaviest on land",
    "frog": "begins its life in water as a tadpole and sings in spring",
    "giraffe": "eats leaves from the tops of trees with its long neck",
    "hedgehog": "rolls into a ball of spines when something frightens it",
    "horse": "sleeps standing up and was ridden by people for thousands of years",
    "kangaroo": "hops on strong hind legs and carries its young in a pouch",
    "koala": "eats nothing but eucalyptus leaves and sleeps twenty hours a day",
    "lion": "rests in the shade in prides while the females hunt zebras",
    "mole": "digs tunnels under meadows and is nearly blind",
    "octopus": "has eight arms and three hearts and squirts ink at its enemies",
    "owl": "turns its head nearly all the way round and hears mice under snow",
    "parrot": "imitates human speech and cracks nuts with a curved beak",
    "penguin": "cannot fly, swims well and keeps its egg warm on its feet in the ice",
    "salmon": "swims up the river where it was born to lay its eggs",
    "shark": "smells a drop of blood in the sea and never stops growing teeth",
    "snail": "carries its house on its back and leaves a trail of slime",
    "spider": "spins a web of silk and waits for insects to be caught in it",
    "tortoise": "lives for more than a hundred years inside a shell",
    "whale": "is the largest of all that ever lived and sings under water",
}
QUERIES = {
    "q1": ("which animal stays awake in the dark and hunts by sound?", {"bat": 2, "owl": 1}),
    "q2": ("marsupial with a pouch", {"kangaroo": 2, "koala": 1}),
    "q3": ("constructs barriers in streams", {"beaver": 2}),
    "q4": ("bird that does not fly", {"penguin": 2, "parrot": 0}),
    "q5": ("animals that carry their home", {"snail": 2, "tortoise": 2, "ant": 0}),
    "q6": ("fish that travel far to spawn", {"salmon": 2, "eel": 2}),
    "q7": ("clever birds <b>& tools</b>", {"crow": 2, "parrot": 1}),
    "q8": ("giant mammal of the ocean", {"whale": 2, "dolphin": 1, "elephant": 0}),
}


def write_lines(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def beir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beir") / "animals"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": name, "title": name, "text": f"The {name} {text}."} for name, text in ANIMALS.items()]
    documents[7]["text"] += " <script>alert('crow')</script>"
    write_lines(folder / "corpus.jsonl", documents)
    write_lines(folder / "queries.jsonl", [{"_id": i, "text": text} for i, (text, _) in QUERIES.items()])
    lines = [f"{i}\t{document}\t{grade}\n" for i, (_, grades) in QUERIES.items() for document, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


@pytest.fixture(scope="session")
def index_folder(beir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluation") / "index"
    with bicross.create(path) as index:
        index.add(bicross.read_documents([beir]))
    return path
