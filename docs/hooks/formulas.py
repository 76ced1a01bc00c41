"""Formulas of TeX become MathML, which browsers draw themselves: no script, no fonts, no network.

The part of TeX that the course uses. What isn't known is an error that names it.
"""

import re
from html import escape

GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
    "varsigma sigma tau upsilon phi chi psi omega"
)
SYMBOLS = {
    **{name: chr(code) for name, code in zip(GREEK.split(), range(0x3B1, 0x3CA))},
    "varepsilon": "ε", "epsilon": "ϵ", "varphi": "φ", "phi": "ϕ", "ell": "ℓ", "partial": "∂",
    "infty": "∞", "top": "⊤", "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Sigma": "Σ",
    "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω", "nabla": "∇",
}  # fmt: skip
OPERATORS = {
    "cdot": "·", "times": "×", "approx": "≈", "leftarrow": "←", "rightarrow": "→", "to": "→",
    "ne": "≠", "neq": "≠", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "pm": "±", "in": "∈",
    "dots": "…", "ldots": "…", "cdots": "⋯", "odot": "⊙", "ast": "∗", "circ": "∘", "sim": "∼",
    "equiv": "≡", "propto": "∝", "mapsto": "↦", "Rightarrow": "⇒", "ll": "≪", "gg": "≫",
    "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "mid": "|", "|": "‖", "{": "{",
    "}": "}", "%": "%", "&": "&", "_": "_", "#": "#", "lVert": "‖", "rVert": "‖", "star": "⋆",
    "otimes": "⊗", "oplus": "⊕", "cup": "∪", "cap": "∩", "forall": "∀", "langle": "⟨",
    "rangle": "⟩", "vdots": "⋮", "ddots": "⋱", "colon": ":",
}  # fmt: skip
LARGE = {"sum": "∑", "prod": "∏", "int": "∫"}
FUNCTIONS = ("tanh", "cosh", "sinh", "cos", "sin", "tan", "exp", "log", "ln", "max", "min", "arg",
             "det", "lim", "sup", "inf")  # fmt: skip
LIMITS = ("max", "min", "lim", "sup", "inf")
SPACES = {"quad": 1, "qquad": 2, ",": 0.17, ";": 0.28, ":": 0.22, " ": 0.3, "!": 0}
ACCENTS = {"hat": "^", "bar": "¯", "tilde": "~", "vec": "→", "dot": "˙", "overline": "¯"}
FENCES = {"pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "cases": "{ ", "aligned": "  ",
          "matrix": "  ", "align*": "  ", "align": "  "}  # fmt: skip
# Texts keep their spaces, which mean nothing elsewhere.
WORDS = r"(text|operatorname|mathrm|mathit|mathbf|begin|end)(\*?)\{([^}]*)\}"
TOKEN = re.compile(rf"\\{WORDS}|\\[a-zA-Z]+|\\.|\S", re.S)


def mathml(tex: str, block: bool = False) -> str:
    """Return a formula as an element of HTML. Raises ValueError for what it doesn't know."""
    reader = _Reader(tex)
    content = reader.row()
    if reader.tokens:
        raise ValueError(f"{reader.tokens[0]} has no counterpart in the formula {tex}")
    kind = ' display="block"' if block else ""
    return f"<math{kind}><mrow>{content}</mrow></math>"


def element(tag: str, text: str, settings: str = "") -> str:
    """Return an element with a text in which Markdown finds no marks."""
    safe = re.sub(r"[*_\[\]`~\\^]", lambda mark: f"&#{ord(mark[0])};", escape(text))
    return f"<{tag}{settings}>{safe}</{tag}>"


class _Reader:
    """A formula's tokens, and the MathML of what comes next."""

    def __init__(self, tex: str) -> None:
        self.tex = tex
        self.tokens = [found[0] for found in TOKEN.finditer(tex)]

    def next(self) -> str:
        if not self.tokens:
            raise ValueError(f"the formula {self.tex} ends too early")
        return self.tokens.pop(0)

    def row(self, *ends: str) -> str:
        """Return everything up to one of `ends`, which stays."""
        parts = []
        while self.tokens and self.tokens[0] not in ends and self.tokens[0] != "}":
            parts.append(self.with_scripts())
        return "".join(parts)

    def argument(self) -> str:
        """Return a group in braces, or else the next token alone: the 1 of \\frac12."""
        if self.tokens and self.tokens[0].isdigit():
            return element("mn", self.next())
        return self.atom()[0]

    def with_scripts(self) -> str:
        base, limits = self.atom()
        scripts = {}
        while self.tokens and self.tokens[0] in ("^", "_", "'"):
            mark = self.next()
            if mark == "'":
                primes = "′"
                while self.tokens[:1] == ["'"]:
                    primes += "′" if self.next() else ""
                mark, script = "^", element("mo", primes)
                if self.tokens[:1] == ["^"]:  # f'^2: both stand above
                    self.next()
                    script = f"<mrow>{script}{self.argument()}</mrow>"
            else:
                script = self.argument()
            if mark in scripts:
                raise ValueError(f"two {mark} after one symbol in the formula {self.tex}")
            scripts[mark] = script
        if not scripts:
            return base
        below, above = scripts.get("_", ""), scripts.get("^", "")
        names = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        tag = names[2] if below and above else names[0] if below else names[1]
        return f"<{tag}>{base}{below}{above}</{tag}>"

    def atom(self) -> tuple[str, bool]:
        """Return the next symbol, and whether its scripts stand below and above it."""
        token = self.next()
        if token == "{":
            content = self.row()
            if self.next() != "}":
                raise ValueError(f"a brace isn't closed in the formula {self.tex}")
            return f"<mrow>{content}</mrow>", False
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isdigit():
            while self.tokens and (self.tokens[0].isdigit() or self._decimal()):
                token += self.next()
            return element("mn", token), False
        if token.isalpha():
            return element("mi", token), False
        if token in "}^_&":
            raise ValueError(f"{token} stands alone in the formula {self.tex}")
        return element("mo", {"-": "−", "*": "∗"}.get(token, token), ' stretchy="false"'), False

    def _decimal(self) -> bool:
        return self.tokens[0] == "." and len(self.tokens) > 1 and self.tokens[1].isdigit()

    def command(self, name: str) -> tuple[str, bool]:
        if words := re.fullmatch(WORDS, name, re.S):
            return self.words(words[1], words[3], bool(words[2]))
        if name in SYMBOLS:
            return element("mi", SYMBOLS[name]), False
        if name in FUNCTIONS:
            return element("mi", name), name in LIMITS
        if name in LARGE:
            return element("mo", LARGE[name]), name != "int"
        if name in OPERATORS:
            return element("mo", OPERATORS[name], ' stretchy="false"'), False
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}em"></mspace>', False
        if name in ("frac", "tfrac", "dfrac"):
            return f"<mfrac>{self.argument()}{self.argument()}</mfrac>", False
        if name == "sqrt" and self.tokens[:1] == ["["]:
            self.next()
            degree = self.row("]")
            self.next()
            return f"<mroot>{self.argument()}<mrow>{degree}</mrow></mroot>", False
        if name == "sqrt":
            return f"<msqrt>{self.argument()}</msqrt>", False
        if name in ACCENTS:
            mark = element("mo", ACCENTS[name])
            return f'<mover accent="true">{self.argument()}{mark}</mover>', False
        if name == "underbrace":
            return f"<munder>{self.argument()}{element('mo', '⏟')}</munder>", True
        if name == "boxed":
            return f'<mrow class="boxed">{self.argument()}</mrow>', False
        if name == "left":
            opening, content = self.next(), self.row("\\right")
            self.next()
            return f"<mrow>{self.fence(opening)}{content}{self.fence(self.next())}</mrow>", False
        raise ValueError(f"\\{name} has no counterpart in the formula {self.tex}")

    def fence(self, token: str) -> str:
        mark = OPERATORS.get(token.removeprefix("\\"), token)
        return "" if mark in (".", " ") else element("mo", mark, ' fence="true" stretchy="true"')

    def words(self, kind: str, text: str, limits: bool) -> tuple[str, bool]:
        if kind == "begin":
            return self.table(text), False
        if kind == "text":
            return element("mtext", text.replace(" ", "\N{NO-BREAK SPACE}")), False
        if kind == "mathit":
            return element("mi", text, ' style="font-style: italic"'), False
        if kind == "mathbf":
            return element("mi", text, ' style="font-weight: bold"'), False
        return element("mi", text, ' mathvariant="normal"'), limits

    def table(self, kind: str) -> str:
        if kind not in FENCES:
            raise ValueError(f"\\begin{{{kind}}} has no counterpart in the formula {self.tex}")
        end, rows, cells = f"\\end{{{kind}}}", [], []
        while True:
            cells.append(f"<mtd>{self.row('&', chr(92) * 2, end)}</mtd>")
            mark = self.next()
            if mark != "&":
                rows.append(f"<mtr>{''.join(cells)}</mtr>")
                cells = []
            if mark == end:
                break
        opening, closing = FENCES[kind]
        aligned = ' class="aligned"' if "align" in kind else ""
        body = f"<mtable{aligned}>{''.join(rows)}</mtable>"
        return f"<mrow>{self.fence(opening)}{body}{self.fence(closing)}</mrow>"


def _displayed(found: re.Match[str]) -> str:
    return f'\n\n<div class="formula">{mathml(found[1], True)}</div>\n\n'


def _inline(found: re.Match[str]) -> str:
    # Markdown takes <math> at the beginning of a line for a block of its own; <span> never.
    return f"<span>{mathml(found[1])}</span>"


def with_formulas(markdown: str) -> str:
    """Return a Markdown text whose $formulas$ and $$formulas$$, outside of code, are MathML."""
    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", markdown, flags=re.M | re.S)
    for i in range(0, len(parts), 2):
        text = re.sub(r"\$\$(.+?)\$\$", _displayed, parts[i], flags=re.S)
        parts[i] = re.sub(r"(?<![\\$])\$(?=\S)([^$]+?)(?<=\S)\$(?!\d)", _inline, text)
    return "".join(parts)
