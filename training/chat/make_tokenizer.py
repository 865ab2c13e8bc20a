"""Train the tokenizer: byte-level BPE, 6,144 entries, each digit a token of its own.

    python training/chat/make_tokenizer.py

It writes tokenizer.json and tokenizer_config.json into training/chat/asset/.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from data.mixture import examples
from text_side import ASSET, TextSide
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from data import gathered, real_sentences

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]
VOCABULARY = 6144
# A word with the space before it, one digit, marks, line ends. Unlike Qwen's own pattern it never
# joins a quotation mark or a slash to a word: what is copied keeps its tokens.
PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"


def _texts(count: int, seed: int) -> Iterator[str]:
    side = TextSide()
    for item in itertools.islice(examples(f"tokenizer/{seed}"), count):
        text = side.prompt(item) + side.reply(item)
        for special in SPECIAL:
            text = text.replace(special, "\n")
        yield text
    more = gathered.held()
    for passage in [*real_sentences.passages("train"), *(more.paragraphs if more else [])]:
        yield " ".join(passage)


def train(count: int, seed: int, folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(count, seed), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=1) + "\n", encoding="utf-8"
    )
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=ASSET)
    parser.add_argument("--texts", type=Path, help="what gather_texts.py wrote")
    parser.add_argument("--meanings", type=Path, help="what mine_meanings.py wrote")
    given = parser.parse_args()
    gathered.use(given.texts, given.meanings)
    tokenizer = train(given.count, given.seed, given.folder)
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
