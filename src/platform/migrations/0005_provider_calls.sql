-- What all nodes together do with a provider: how many calls run, when the next one may begin, and whether it is believed to be away.
-- Unlogged: a crash of PostgreSQL forgets it, which costs nothing but a moment of caution, and no call waits for the disk. See src/analysis/calling/gate.ts.
create unlogged table provider_gate (
  provider text primary key,
  next_start timestamptz not null default '-infinity',
  failures int not null default 0,      -- in a row
  open_until timestamptz,               -- left alone; after that one call tries
  probe_until timestamptz               -- the one that tries has so long
);

-- Calls that run. One whose node has died counts until it expires.
create unlogged table provider_call (
  id bigint generated always as identity primary key,
  provider text not null,
  expires_at timestamptz not null
);
create index on provider_call (provider);

/*
 Asks to begin a call. `call`: its number, and `wait_seconds` until its turn; null if it may not begin now: then `wait_seconds` until it is worth asking again,
 since the provider is left alone (`away`), or since as many calls as allowed are running.
*/
create function begin_call(name text, most int, gap_seconds double precision, lease_seconds double precision)
returns table (call bigint, wait_seconds double precision, away boolean)
language plpgsql as $$
declare
  gate provider_gate;
  starts timestamptz;
begin
  insert into provider_gate (provider) values (name) on conflict do nothing;
  select * into gate from provider_gate g where g.provider = name for update;
  if gate.open_until > clock_timestamp() then
    return query select null::bigint, extract(epoch from gate.open_until - clock_timestamp())::float8, true;
    return;
  end if;
  if gate.probe_until > clock_timestamp() then
    return query select null::bigint, 1::float8, true;
    return;
  end if;
  delete from provider_call c where c.provider = name and c.expires_at < clock_timestamp();
  if (select count(*) from provider_call c where c.provider = name) >= most then
    return query select null::bigint, 0.05::float8, false;
    return;
  end if;
  starts := greatest(clock_timestamp(), gate.next_start);
  update provider_gate g
     set next_start = starts + gap_seconds * interval '1 second',
         probe_until = case when gate.open_until is not null then starts + lease_seconds * interval '1 second' end
   where g.provider = name;
  return query
    with begun as (
      insert into provider_call (provider, expires_at) values (name, starts + lease_seconds * interval '1 second') returning id
    )
    select id, greatest(0, extract(epoch from starts - clock_timestamp()))::float8, false from begun;
end $$;

-- outcome: 'answered', 'failed' (the provider is to blame), or 'other' (says nothing of it). busy_seconds: what its units cost of the pace.
create function end_call(id_of_call bigint, name text, outcome text, busy_seconds double precision, failures_to_open int, open_seconds double precision)
returns void
language sql as $$
  delete from provider_call where id = id_of_call;
  update provider_gate g
     set failures = case outcome when 'answered' then 0 when 'failed' then failures + 1 else failures end,
         open_until = case outcome when 'answered' then null
                                   when 'failed' then case when failures + 1 >= failures_to_open then clock_timestamp() + open_seconds * interval '1 second' else open_until end
                                   else open_until end,
         probe_until = null,
         next_start = case when busy_seconds > 0 then greatest(next_start, clock_timestamp()) + busy_seconds * interval '1 second' else next_start end
   where g.provider = name
     and (outcome <> 'answered' or failures > 0 or open_until is not null or busy_seconds > 0 or probe_until is not null);
$$;
