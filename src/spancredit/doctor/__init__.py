"""What would go wrong, or be wasted, if this job were trained: a trial of two steps, and findings from it."""
