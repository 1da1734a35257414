"""The functions of the assignment: where each is, its formula and its explanation."""

from pandas import DataFrame

from pipeline.network import backward, forward, prediction, training
from pipeline.report.document import Document
from pipeline.report.equations import over, root, sub, sup, total, word

W, B, Z, A = sub("W", "l"), sub("b", "l"), sub("Z", "l"), sub("A", "l")
A_PREV, A_LAST, Z_LAST = sub("A", "l-1"), sub("A", "L"), sub("Z", "L")
A_I, P_I, Y_I, Z_I = sub("a", "i"), sub("p", "i"), sub("y", "i"), sub("z", "i")
A_J, P_J, Z_J = sub("a", "j"), sub("p", "j"), sub("z", "j")
RELU, SOFTMAX, MAX, MEAN, COST = word("relu"), word("softmax"), word("max"), word("mean"), word("cost")
BN, NA, D_NA, BATCH = word("BN"), word("NA"), word("dNA"), word("batch")
COMMA = word(",\N{EM SPACE}")  # between formulas of one line; word processors drop some ordinary spaces
PER_EXAMPLE, EXAMPLES, DEVIATION = over("1", "m"), word("examples"), root(f"{sup('σ', '2')} + ε")
DW, DB = f"d{W} = {PER_EXAMPLE}d{Z}{sup(A_PREV, 'T')}", f"d{B} = {PER_EXAMPLE}{total(EXAMPLES, f'd{Z}')}"
DA = f"d{A} = {sup(sub('W', 'l+1'), 'T')} d{sub('Z', 'l+1')}"
NORM = f"‖{W}{sup('‖', '2')}"
L2_COST = f"J = {COST} + {over('λ', '2')}{total('l', NORM)}"
L2_GRADIENT = f"{DW} + λ {W}"
EXP_I, EXP_J = (sup("e", f"{z} - {MAX} z") for z in (Z_I, Z_J))
LOG_LIKELIHOOD = f"{Y_I}{word(' log ')}{P_I}"
SLOPE = over(f"∂{A_J}", f"∂{Z_I}")
BEFORE, AFTER = sup("θ", "(t-1)"), sup("θ", "(t)")
INNER_LAYERS = f"{RELU}(… {BN}({RELU}({sub('W', '1')}X + {sub('b', '1')})) …)"
RIVAL = f"[{sub('p', 'c')} > {P_I}{word(' for all ')}i ≠ c]"

EXPLANATIONS = {  # in the order of the assignment
    "initialize_parameters": "He's variance keeps the size of the activations from layer to layer under ReLU.",
    "linear_forward": "An example is a column. The inputs are cached.",
    "softmax": "Subtracting the maximum changes no result and keeps the exponentials from overflowing.",
    "relu": "Negative values become zero.",
    "linear_activation_forward": "The linear part, then g: ReLU or softmax.",
    "L_model_forward": "All layers in turn. BN is `apply_batchnorm`; without batch norm it returns its input.",
    "compute_cost": "Categorical cross-entropy in nats, finite: no p is below the smallest normal number.",
    "apply_batchnorm": "Each unit is normalised over the examples of the batch; ε is 0.00001.",
    "linear_backward": "dA and dZ are gradients of the sum over the examples, dW and db of the mean.",
    "linear_activation_backward": "Back through g by its Jacobian, which is diagonal for ReLU, then the linear part.",
    "relu_backward": "The gradient passes where the unit was active.",
    "softmax_backward": "The full Jacobian. For the gradient -y / p the result is p - y, also at underflow.",
    "L_model_backward": (
        "-Y / A goes back through softmax, then layer by layer through batch norm and ReLU. BN' is "
        "`batchnorm_backward`; without batch norm it returns its input. Without L2, λ is zero."
    ),
    "update_parameters": "One step of gradient descent at the learning rate α; new arrays replace the old ones.",
    "L_layer_model": (
        "Initialise the parameters θ; then, batch by batch: forward, cost, backward, update. J is the cost with its L2 "
        "penalty. Every 100 steps the cost is printed and kept. Each epoch visits every example once, in a new order; "
        "the batch in which an epoch ends goes on with the next. With a validation set, training stops when the "
        "validation cost has had no new low for long enough, and returns the parameters of the lowest. `train` takes "
        "the same `training_step`, but trains an ensemble at once: one network per seed."
    ),
    "predict": "An example counts if p of its class c is above every other. Batch norm uses running statistics.",
    "batchnorm_backward": "Mean and variance depend on the whole batch; the gradient passes through both.",
}
FORMULAS: dict[str, list[str]] = {  # by name, a line each
    "initialize_parameters": [f"{W} ∼ {word('Normal')}(0, {over('2', sub('n', 'l-1'))}){COMMA}{B} = 0"],
    "linear_forward": [f"{Z} = {W}{A_PREV} + {B}"],
    "softmax": [f"{P_I} = {over(EXP_I, total('j', EXP_J))}"],
    "relu": [f"{A} = {MAX}(0, {Z})"],
    "linear_activation_forward": [f"{A} = g({W}{A_PREV} + {B})"],
    "L_model_forward": [f"{A_LAST} = {SOFTMAX}({sub('W', 'L')} {BN}({INNER_LAYERS}) + {sub('b', 'L')})"],
    "compute_cost": [f"{COST} = -{PER_EXAMPLE}{total(EXAMPLES, total('i', LOG_LIKELIHOOD))}"],
    "apply_batchnorm": [f"{NA} = {over('A - μ', DEVIATION)}"],
    "linear_backward": [f"{DW}{COMMA}{DB}{COMMA}d{A_PREV} = {sup(W, 'T')}d{Z}"],
    "linear_activation_backward": [f"d{Z_I} = {total('j', f'{SLOPE}d{A_J}')}"],
    "relu_backward": [f"d{Z} = d{A} · [{Z} > 0]"],
    "softmax_backward": [f"d{Z_I} = {P_I}(d{A_I} - {total('j', f'{P_J} d{A_J}')})"],
    "L_model_backward": [
        f"d{A_LAST} = -Y / {A_LAST}{COMMA}d{Z_LAST} = {A_LAST} - Y",
        f"{DA}{COMMA}d{Z} = [{Z} > 0] · {BN}'(d{A}){COMMA}l = L-1, …, 1",
        f"{L2_GRADIENT}{COMMA}{DB}{COMMA}l = L, …, 1",
    ],
    "update_parameters": [f"{W} ← {W} - α d{W}{COMMA}{B} ← {B} - α d{B}"],
    "L_layer_model": [
        f"{AFTER} = {BEFORE} - α ∇J({BEFORE}; {sub(BATCH, 't')}){COMMA}t = 1, 2, …",
        f"{sub(COST, 'k')} = J({sup('θ', '(100k-1)')}; {sub(BATCH, '100k')})",
    ],
    "predict": [f"{word('accuracy')} = {over('100', 'm')}{total(EXAMPLES, RIVAL)}"],
    "batchnorm_backward": [f"dA = {over(f'{D_NA} - {MEAN}({D_NA}) - {NA} · {MEAN}({D_NA} · {NA})', DEVIATION)}"],
}
PARTS = [*(f"1{part}" for part in "abcdefgh"), *(f"2{part}" for part in "abcdef"), "3a", "3b", "5"]
SECTIONS = dict(zip(EXPLANATIONS, PARTS, strict=True))  # of the assignment, by function
HEADINGS = {  # by the section with which each begins
    **{"1a": "Forward propagation", "2a": "Backward propagation"},
    **{"3a": "Training and prediction", "5": "Batch norm backward"},
}


def write_table(document: Document) -> None:
    """List the functions: section of the assignment, name, file, number of the formula."""
    functions = vars(forward) | vars(backward) | vars(prediction) | vars(training)
    table = DataFrame(
        {
            "Section": section,
            "Function": f"`{name}`",
            "File": f"`{functions[name].__module__.replace('.', '/')}.py`",
            "Formula": f"({number})",
        }
        for number, (name, section) in enumerate(SECTIONS.items(), start=1)
    )
    document.paragraph(
        "[[function_table]] lists the functions of sections 1 to 3, and what section [[batchnorm]] adds; [[formulas]] "
        "has their formulas. `Linear_backward`, `Update_parameters` and `Predict` name the same functions.",
        keep_with_next=True,
    )
    caption = "The assignment's functions: section, name, file, and number of the formula."
    document.table(table, caption, name="function_table", widths=[1.8, 5.8, 6.6, 1.8])


def write_formulas(document: Document) -> None:
    """Write the formulas and explanations, a heading for each section of the assignment."""
    document.paragraph(
        "In the formulas l counts layers, n their units and m the examples of a batch; dX is the gradient at X. A "
        "condition in brackets is 1 where it holds, else 0. μ and σ² are the mean and variance of a unit over the "
        "examples of a batch."
    )
    for number, (name, section) in enumerate(SECTIONS.items(), start=1):
        if section in HEADINGS:
            document.heading(HEADINGS[section], level=2)
        document.paragraph(f"({number}) **`{name}`** {EXPLANATIONS[name]}", keep_with_next=True)
        for formula in FORMULAS[name]:
            document.equation(formula, keep_with_next=formula is not FORMULAS[name][-1])
