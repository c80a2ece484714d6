drop function tidings.may_subscribe(text, text, jsonb, text);
drop function tidings.judge(text, jsonb, text, text[]);
drop function tidings.passing(text);
drop function tidings.policies_condition(oid, name);
drop function tidings.assume(name, jsonb, text);
drop function tidings.rights(tidings.watches, jsonb);
drop function tidings.user_id();
drop function tidings.claims();
