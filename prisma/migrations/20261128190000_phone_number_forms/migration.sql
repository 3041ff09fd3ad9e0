-- Argentine mobile phones are dialed with a 9 after the calling code, so one subscriber has two numbers.
-- `src/infra/phone-number.ts` has the same functions.

-- One text for all forms of a number, by which duplicates are recognized.
CREATE FUNCTION subscriber_of(phone_number text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT regexp_replace(phone_number, '^\+549(\d{10})$', '+54\1')
$$;

-- All forms of a number, the number itself first.
CREATE FUNCTION phone_number_forms(phone_number text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN phone_number ~ '^\+549\d{10}$' THEN ARRAY[phone_number, '+54' || substr(phone_number, 5)]
    WHEN phone_number ~ '^\+54\d{10}$' THEN ARRAY[phone_number, '+549' || substr(phone_number, 4)]
    ELSE ARRAY[phone_number]
  END
$$;

-- Where a campaign has both forms, both stay: they were enrolled as two contacts.
UPDATE campaign_contacts c SET identity = 'tel:' || subscriber_of(c.phone_number)
WHERE c.identity = 'tel:' || c.phone_number AND c.phone_number ~ '^\+549\d{10}$'
  AND NOT EXISTS (SELECT 1 FROM campaign_contacts o
    WHERE o.campaign_id = c.campaign_id AND o.identity = 'tel:' || subscriber_of(c.phone_number));
