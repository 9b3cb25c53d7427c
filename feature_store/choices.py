"""Names that a person types: of a misspelt one, the nearest."""

import click


class OneOf(click.Choice[str]):
    """One of some names."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """The name that was probably meant; all of them where none is like it."""
        from feature_store.preset_problems import near  # pydantic, which --help needn't wait for

        nearest = near(str(value), self.choices)
        if nearest:
            return f"{value!r} is none; did you mean {nearest!r}?"
        return super().get_invalid_choice_message(value, ctx)
