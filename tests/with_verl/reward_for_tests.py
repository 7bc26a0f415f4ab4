"""A reward that differs within groups, whatever is sampled."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    return float(len(solution_str) % 7)
