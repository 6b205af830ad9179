-- What is rewritten as long as it lives. PostgreSQL writes every version of a row anew; where its page has room for that, no
-- index needs a new entry ("heap-only tuples").
{roomy:job};
{roomy:job_attempt};
{roomy:runner_heard};
