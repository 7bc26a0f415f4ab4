"""The words of the `wordproblems` task: names, events, the lead-ins that commit to an operation, and fillers."""

NAMES = ("Ana", "Ben", "Chen", "Dara", "Eli", "Fatima", "Goran", "Hana", "Ivan", "Jada", "Kofi", "Lena")
OBJECTS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stones")

OPENINGS = (
    "{name} has {n} {things}.",
    "{name} starts the day with {n} {things}.",
    "There are {n} {things} in the box of {name}.",
    "{name} counts {n} {things}.",
)

# What happens to the amount, by operation.
EVENTS = {
    "+": (
        "Then {name} finds {k} more.",
        "{friend} gives {name} another {k}.",
        "After lunch {name} buys {k} {things}.",
        "{k} more {things} arrive in the mail.",
    ),
    "-": (
        "Then {name} gives {k} to {friend}.",
        "{name} loses {k} of them on the way.",
        "{friend} borrows {k} {things}.",
        "{k} {things} have to be thrown away.",
    ),
    "*": (
        "A week later the amount is {k} times as large.",
        "{name} trades and ends up with {k} times as many.",
        "{friend} turns every one of them into {k}.",
        "With some luck the number grows {k} fold.",
    ),
    "/": (
        "{name} splits them equally into {k} bags and keeps one bag.",
        "They are shared equally among {k} friends, and {name} is one of them.",
        "{name} keeps only one part in {k}.",
        "The {things} are dealt into {k} equal piles and {name} takes one pile.",
    ),
}

QUESTIONS = (
    "How many {things} does {name} have now?",
    "How many {things} are there in the end?",
    "What is the final number of {things}?",
)

# How a solution's sentence begins before its equation; each wording belongs to one operation only.
LEAD_INS = {
    "+": ("Adding these gives", "{name} now has", "Together that makes"),
    "-": ("{name} is left with", "Taking them away leaves", "What remains is"),
    "*": ("The amount grows to", "Multiplying gives", "{name} ends up with"),
    "/": ("Each part holds", "Sharing equally gives", "One part comes to"),
}

FILLERS = (
    "Let me think about this step by step.",
    "Okay.",
    "So far so good.",
    "Now let us look at what happens next.",
    "This part is easy.",
    "Let me read the question again.",
    "We should be careful here.",
    "That is a nice problem.",
    "Hmm, let me see.",
    "Moving on.",
)
