"""The functions of the assignment: the formulas and the explanation of each."""

from __future__ import annotations

from pipeline.report.document import Document
from pipeline.report.equations import over, root, sub, sup, total, word

W, B, Z, A = sub("W", "l"), sub("b", "l"), sub("Z", "l"), sub("A", "l")
A_PREV, A_LAST, Z_LAST = sub("A", "l-1"), sub("A", "L"), sub("Z", "L")
A_I, P_I, Y_I, Z_I = sub("a", "i"), sub("p", "i"), sub("y", "i"), sub("z", "i")
A_J, P_J, Z_J = sub("a", "j"), sub("p", "j"), sub("z", "j")
RELU, SOFTMAX, MAX, MEAN, COST = word("relu"), word("softmax"), word("max"), word("mean"), word("cost")
COMMA = word(",\N{EM SPACE}")  # between formulas of one line; word processors drop some ordinary spaces
PER_EXAMPLE, EXAMPLES, DEVIATION = over("1", "m"), word("examples"), root(f"{sup('σ', '2')} + ε")
DW, DB = f"d{W} = {PER_EXAMPLE}d{Z}{sup(A_PREV, 'T')}", f"d{B} = {PER_EXAMPLE}{total(EXAMPLES, f'd{Z}')}"
NORM = f"‖{W}{sup('‖', '2')}"
L2_COST = f"J = {COST} + {over('λ', '2')}{total('l', NORM)}"
L2_GRADIENT = f"{DW} + λ {W}"
EXP_I, EXP_J = (sup("e", f"{z} - {MAX} z") for z in (Z_I, Z_J))
LOG_LIKELIHOOD = f"{Y_I}{word(' log ')}{P_I}"
BEFORE, AFTER, BATCH = sup("P", "(t-1)"), sup("P", "(t)"), sub("B", "t")
INNER_LAYERS = f"{RELU}(… N({RELU}({sub('W', '1')}X + {sub('b', '1')})) …)"
RIVAL = f"[{sub('p', 'c')} > {P_I}{word(' for all ')}i ≠ c]"

# By section and name: the explanation, and the formulas, a line each.
FUNCTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Forward propagation": {
        "initialize_parameters": (
            "He's variance keeps the size of the activations from layer to layer under ReLU.",
            f"{W} ∼ N(0, {over('2', sub('n', 'l-1'))}){COMMA}{B} = 0",
        ),
        "linear_forward": ("An example is a column. The inputs are cached.", f"{Z} = {W}{A_PREV} + {B}"),
        "softmax": (
            "Subtracting the maximum changes no result and keeps the exponentials from overflowing.",
            f"{P_I} = {over(EXP_I, total('j', EXP_J))}",
        ),
        "relu": ("Negative values become zero.", f"{A} = {MAX}(0, {Z})"),
        "linear_activation_forward": ("The linear part, then ReLU or softmax.", f"{A} = g({W}{A_PREV} + {B})"),
        "L_model_forward": (
            "All layers in turn. N is `apply_batchnorm`; without batch norm it returns its input.",
            f"{A_LAST} = {SOFTMAX}({sub('W', 'L')} N({INNER_LAYERS}) + {sub('b', 'L')})",
        ),
        "compute_cost": (
            "Categorical cross-entropy in nats. It is finite: no probability is below the smallest normal number.",
            f"{COST} = -{PER_EXAMPLE}{total(EXAMPLES, total('i', LOG_LIKELIHOOD))}",
        ),
        "apply_batchnorm": (
            "Each unit is normalised over the examples of the batch; ε is 0.00001.",
            f"n = {over('a - μ', DEVIATION)}",
        ),
    },
    "Backward propagation": {
        "linear_backward": (
            "dA and dZ are gradients of the sum over the examples, dW and db of the mean.",
            f"{DW}{COMMA}{DB}{COMMA}d{A_PREV} = {sup(W, 'T')}d{Z}",
        ),
        "linear_activation_backward": (
            "Back through the activation, then the linear part. For softmax its Jacobian takes the place of g'.",
            f"d{Z} = g'({Z}) · d{A}",
        ),
        "relu_backward": ("The gradient passes where the unit was active.", f"d{Z} = d{A} · [{Z} > 0]"),
        "softmax_backward": (
            "The full Jacobian. For the gradient -y / p of the cross-entropy it gives p - y, also at underflow.",
            f"d{Z_I} = {P_I}(d{A_I} - {total('j', f'{P_J} d{A_J}')})",
        ),
        "batchnorm_backward": (
            "Mean and variance depend on every example of the batch, and the gradient g passes through both.",
            f"da = {over(f'g - {MEAN}(g) - n · {MEAN}(g · n)', DEVIATION)}",
        ),
        "L_model_backward": (
            "-Y / A goes back through softmax, then layer by layer through batch norm and ReLU. N' is "
            "`batchnorm_backward`; without batch norm it returns its input. Without L2, λ is zero.",
            f"d{A_LAST} = -Y / {A_LAST}{COMMA}d{Z_LAST} = {A_LAST} - Y",
            f"d{A} = {sup(sub('W', 'l+1'), 'T')} d{sub('Z', 'l+1')}{COMMA}d{Z} = [{Z} > 0] · N'(d{A}){COMMA}"
            "l = L-1, …, 1",
            f"{L2_GRADIENT}{COMMA}{DB}{COMMA}l = L, …, 1",
        ),
        "update_parameters": (
            "One step of gradient descent at the learning rate α; new arrays take the place of the old ones.",
            f"{W} ← {W} - α d{W}{COMMA}{B} ← {B} - α d{B}",
        ),
    },
    "Training and prediction": {
        "L_layer_model": (
            "Initialise the parameters P; then, batch B by batch: forward, cost, backward, update. J is the cost with "
            "its L2 penalty. Every 100 steps the cost is printed and kept. Each epoch visits every example once, in a "
            "new order; the batch in which an epoch ends goes on with the next. With a validation set, training stops "
            "when the validation cost has had no new low for long enough, and returns the parameters of the lowest. "
            "`train` takes the same `training_step`, but trains an ensemble at once: one network a seed.",
            f"{AFTER} = {BEFORE} - α ∇J({BEFORE}; {BATCH}){COMMA}t = 1, …, T",
            f"{sub(COST, 'k')} = J({sup('P', '(100k-1)')}; {sub('B', '100k')})",
        ),
        "predict": (
            "An example counts if the probability of its class c is above every other. Batch norm uses its running "
            "statistics, so that an image is classified alike alone and in any batch.",
            f"{word('accuracy')} = {over('100', 'm')}{total(EXAMPLES, RIVAL)}",
        ),
    },
}


def write(document: Document) -> None:
    """Write the explanations, a heading for each section of the assignment."""
    document.paragraph(
        "In the formulas l counts layers and m the examples of a batch; dX is the gradient at X. [A condition] is 1 "
        "where it holds, else 0. μ and σ² are the mean and variance of a unit over the examples of a batch."
    )
    for title, functions in FUNCTIONS.items():
        document.heading(title, level=2)
        for name, (explanation, *formulas) in functions.items():
            document.paragraph(f"**`{name}`** {explanation}", keep_with_next=True)
            for formula in formulas:
                document.equation(formula, keep_with_next=formula is not formulas[-1])
