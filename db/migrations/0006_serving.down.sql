drop function tidings.revoke_channel(name);
drop function tidings.grant_channel(name);
