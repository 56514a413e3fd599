-- Instances that were refused stand in the audit trail as transfers that failed; they are asked for by study, and the latest of all.
create index audit_refused on audit (at) where event = 'instances-received' and outcome = 'failure';
create index audit_refused_of_study on audit ((event_data ->> 'study'), at) where event = 'instances-received' and outcome = 'failure';
