"""Life of a run, without pytest: plan, measure, judge, record, recover."""
