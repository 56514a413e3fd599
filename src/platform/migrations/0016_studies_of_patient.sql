-- A patient's latest earlier examination is found without looking at all other studies of the patient.
create index on study (patient_id, study_date);
drop index study_patient_id_idx;
