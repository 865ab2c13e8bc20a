"""Write SHA256SUMS into each folder of built-in models; run it after a model has been replaced.

    python training/checksums.py

`nearfar doctor` compares the installed files with it; `sha256sum -c SHA256SUMS` does too.
"""

from nearfar.doctor.assets import MANIFEST, builtin_folder, sha256


def main() -> None:
    for folder in sorted(path for path in builtin_folder().iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
        lines = [f"{sha256(file)}  {file.name}\n" for file in files if file.is_file()]
        (folder / MANIFEST).write_text("".join(lines), encoding="utf-8", newline="\n")
        print(f"{folder.name}: {len(lines)} files")


if __name__ == "__main__":
    main()
