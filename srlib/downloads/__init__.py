"""The public files of the book: where they are, their hashes, and how they are fetched."""
