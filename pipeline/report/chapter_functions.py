"""What each function of the assignment does, with its formula, for the report."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.document import Document
from pipeline.report.equations import over, root, row, sub, sup, total, word

_W, _B, _Z, _A = sub("W", "l"), sub("b", "l"), sub("Z", "l"), sub("A", "l")
_A_PREV = sub("A", "l-1")
_A_LAST = sub("A", "L")
_DZ, _DA = row("d", _Z), row("d", _A)
_MEAN, _VAR = "μ", sup("σ", "2")
_COMMA = word(",\N{EM SPACE}")  # between formulas of one line; of ordinary spaces word processors drop some

L2_COST = row("J = ", word("cost"), " + ", over("λ", "2"), total("l", row("‖", _W, sup("‖", "2"))))
L2_GRADIENT = row("d", _W, " = ", over("1", "m"), _DZ, sup(_A_PREV, "T"), " + λ ", _W)


def _after(step: str) -> str:
    """Write the parameters after a step."""
    return sup("P", f"({step})")


@dataclass(frozen=True)
class Explanation:
    """A function of the assignment, its formula in OMML, a line or more, and what there is to say of it."""

    name: str
    formula: str | tuple[str, ...]
    text: str


FORWARD = (
    Explanation(
        "initialize_parameters",
        row(_W, " ∼ N", "(0, ", over("2", sub("n", "l-1")), ")", _COMMA, _B, " = 0"),
        "He's variance keeps the size of the activations from layer to layer under ReLU.",
    ),
    Explanation(
        "linear_forward",
        row(_Z, " = ", _W, _A_PREV, " + ", _B),
        "An example is a column. The inputs are kept for the backward pass.",
    ),
    Explanation(
        "softmax",
        row(
            sub("p", "i"),
            " = ",
            over(
                sup("e", row(sub("z", "i"), " - ", word("max"), " z")),
                total("j", sup("e", row(sub("z", "j"), " - ", word("max"), " z"))),
            ),
        ),
        "Subtracting the maximum changes nothing but keeps the exponentials from overflowing.",
    ),
    Explanation("relu", row(_A, " = ", word("max"), "(0, ", _Z, ")"), "What is negative becomes zero."),
    Explanation(
        "linear_activation_forward",
        row(_A, " = g(", _W, _A_PREV, " + ", _B, ")"),
        "One layer: the linear part, then ReLU or softmax.",
    ),
    Explanation(
        "L_model_forward",
        row(
            sub("A", "L"),
            " = ",
            word("softmax"),
            "(",
            sub("W", "L"),
            " N(",
            word("relu"),
            "(… N(",
            word("relu"),
            "(",
            sub("W", "1"),
            "X + ",
            sub("b", "1"),
            ")) …)) + ",
            sub("b", "L"),
            ")",
        ),
        "All layers in turn; N is batch norm if that is on, and otherwise leaves its input as it is.",
    ),
    Explanation(
        "compute_cost",
        row(
            word("cost"),
            " = -",
            over("1", "m"),
            total(word("examples"), total("i", row(sub("y", "i"), " ", word("log"), " ", sub("p", "i")))),
        ),
        "Categorical cross-entropy, in nats; finite, since no probability is below the smallest normal number.",
    ),
    Explanation(
        "apply_batchnorm",
        row("n = ", over(row("a - ", _MEAN), root(row(_VAR, " + ε")))),
        "Each unit is normalised over the examples of the batch; ε is 0.00001.",
    ),
)
BACKWARD = (
    Explanation(
        "linear_backward",
        row(
            "d",
            _W,
            " = ",
            over("1", "m"),
            _DZ,
            sup(_A_PREV, "T"),
            _COMMA,
            "d",
            _B,
            " = ",
            over("1", "m"),
            total(word("examples"), _DZ),
            _COMMA,
            "d",
            _A_PREV,
            " = ",
            sup(_W, "T"),
            _DZ,
        ),
        "Gradients at activations are of the sum over examples, those at weights of the mean.",
    ),
    Explanation(
        "linear_activation_backward",
        row(_DZ, " = ", "g'(", _Z, ") · ", _DA),
        "Back through the activation (for softmax its Jacobian, below, takes the place of g'), then the linear part.",
    ),
    Explanation(
        "relu_backward",
        row(_DZ, " = ", _DA, " · [", _Z, " > 0]"),
        "The gradient passes where the unit was active.",
    ),
    Explanation(
        "softmax_backward",
        row(
            "d",
            sub("z", "i"),
            " = ",
            sub("p", "i"),
            "(d",
            sub("a", "i"),
            " - ",
            total("j", row(sub("p", "j"), " d", sub("a", "j"))),
            ")",
        ),
        "The full Jacobian. For the gradient of the cross-entropy it is p - y, also where a probability underflows.",
    ),
    Explanation(
        "batchnorm_backward",
        row("da = ", over(row("g - ", word("mean"), "(g) - n · ", word("mean"), "(g · n)"), root(row(_VAR, " + ε")))),
        "Mean and variance depend on every example of the batch, and the gradient g passes through both of them.",
    ),
    Explanation(
        "L_model_backward",
        (
            row("d", _A_LAST, " = -Y / ", _A_LAST, _COMMA, "d", sub("Z", "L"), " = ", _A_LAST, " - Y"),
            row(
                *(_DA, " = ", sup(sub("W", "l+1"), "T"), " d", sub("Z", "l+1"), _COMMA),
                *(_DZ, " = [", _Z, " > 0] · N'(", _DA, ")", _COMMA, "l = L-1, …, 1"),
            ),
            row(
                *("d", _W, " = ", over("1", "m"), _DZ, sup(_A_PREV, "T"), " + λ ", _W, _COMMA),
                *("d", _B, " = ", over("1", "m"), total(word("examples"), _DZ), _COMMA, "l = L, …, 1"),
            ),
        ),
        "Softmax once, then batch norm and ReLU layer by layer. N' is `batchnorm_backward` if batch norm is on, and "
        "otherwise leaves its input as it is; the input of layer l stands for the activations of layer l-1; without L2 "
        "λ is zero.",
    ),
    Explanation(
        "update_parameters",
        row(_W, " ← ", _W, " - α d", _W, _COMMA, _B, " ← ", _B, " - α d", _B),
        "One step of gradient descent at the learning rate α.",
    ),
)
TRAINING = (
    Explanation(
        "L_layer_model",
        (
            row(
                *(_after("t"), " = ", _after("t-1"), " - α ∇J(", _after("t-1"), "; ", sub("B", "t"), ")", _COMMA),
                "t = 1, …, T",
            ),
            row(sub(word("cost"), "k"), " = J(", _after("100k-1"), "; ", sub("B", "100k"), ")"),
        ),
        "Initialise the parameters P; then, batch B by batch, forward, cost, backward, update. J is the cost with its "
        "L2 penalty. Every 100 steps the cost is printed and kept. Each epoch visits every example once, in a new "
        "order; the batch in which one ends goes on with the next. With a validation set the parameters of its lowest "
        "cost are returned, and training stops when that has not improved for long enough. It is a thin wrapper of "
        "`train`, which trains one network for every seed at once, as a stack of matrices, each network as if it "
        "were alone.",
    ),
    Explanation(
        "predict",
        row(
            word("accuracy"),
            " = ",
            over("100", "m"),
            total(word("examples"), row("[", sub("p", "c"), " > ", sub("p", "i"), word(" for all "), "i ≠ c]")),
        ),
        "An example counts where the probability of its class c is above every other. With batch norm the "
        "running statistics are used, so that an image is classified alike alone and in any batch.",
    ),
)


def write(document: Document) -> None:
    """Write the explanations, a heading for each section of the assignment."""
    document.paragraph(
        "In the formulas l counts layers and m the examples of a batch; dX stands for the gradient at X. [A condition] "
        "is 1 where it holds, else 0; μ and σ² are a unit's mean and variance over the examples of a batch."
    )
    for title, group in (
        ("Forward propagation", FORWARD),
        ("Backward propagation", BACKWARD),
        ("Training and prediction", TRAINING),
    ):
        document.heading(title, level=2)
        for explanation in group:
            document.paragraph(f"**`{explanation.name}`** {explanation.text}", keep_with_next=True)
            lines = (explanation.formula,) if isinstance(explanation.formula, str) else explanation.formula
            for line in lines:
                document.equation(line, keep_with_next=line is not lines[-1])
