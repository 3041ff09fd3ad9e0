/** Headers of real exports, and the fields that their columns are mapped to. */

export interface HeaderCase {
  source: string;
  header: string;
  /** Columns of phone numbers in the order in which they are used. */
  phones: string[];
  fields: Record<string, string>;
}

export const HEADERS: HeaderCase[] = [
  {
    source: 'HubSpot contacts',
    header:
      'Record ID,First Name,Last Name,Email,Phone Number,Mobile Phone Number,Contact owner,Lead Status,Marketing contact status,Company name,City,Postal Code,Industry,Time Zone,Unsubscribed from all email,Job Title,Create Date',
    phones: ['Phone Number', 'Mobile Phone Number'],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'Email',
      companyName: 'Company name',
      location: 'City',
      pinCode: 'Postal Code',
      industry: 'Industry',
      timezone: 'Time Zone',
    },
  },
  {
    source: 'Salesforce report',
    header:
      'Salutation,First Name,Last Name,Title,Account Name,Mailing Street,Mailing City,Mailing State/Province,Mailing Zip/Postal Code,Mailing Country,Phone,Fax,Mobile,Email,Account Owner,Do Not Call',
    phones: ['Phone', 'Mobile'],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'Email',
      companyName: 'Account Name',
      location: 'Mailing City',
      pinCode: 'Mailing Zip/Postal Code',
      doNotCall: 'Do Not Call',
    },
  },
  {
    source: 'Salesforce data export',
    header:
      'Id,IsDeleted,AccountId,LastName,FirstName,Salutation,Name,MailingCity,MailingPostalCode,Phone,Fax,MobilePhone,HomePhone,OtherPhone,AssistantPhone,Email,HasOptedOutOfEmail,HasOptedOutOfFax,DoNotCall,LeadSource',
    phones: ['Phone', 'MobilePhone', 'HomePhone', 'OtherPhone'],
    fields: {
      firstName: 'FirstName',
      lastName: 'LastName',
      email: 'Email',
      location: 'MailingCity',
      pinCode: 'MailingPostalCode',
      doNotCall: 'DoNotCall',
    },
  },
  {
    source: 'Google Contacts',
    header:
      'First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,Phonetic Last Name,Name Prefix,Name Suffix,Nickname,File As,Organization Name,Organization Title,Organization Department,Birthday,Notes,Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value,Phone 2 - Label,Phone 2 - Value,Address 1 - Formatted,Address 1 - City,Address 1 - Postal Code',
    phones: ['Phone 1 - Value', 'Phone 2 - Value'],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'E-mail 1 - Value',
      companyName: 'Organization Name',
      keywords: 'Labels',
      location: 'Address 1 - City',
      pinCode: 'Address 1 - Postal Code',
    },
  },
  {
    source: 'Google Contacts until 2024',
    header:
      'Name,Given Name,Additional Name,Family Name,Yomi Name,Group Membership,E-mail 1 - Type,E-mail 1 - Value,Phone 1 - Type,Phone 1 - Value,Organization 1 - Type,Organization 1 - Name',
    phones: ['Phone 1 - Value'],
    fields: {
      firstName: 'Given Name',
      lastName: 'Family Name',
      email: 'E-mail 1 - Value',
      companyName: 'Organization 1 - Name',
      keywords: 'Group Membership',
    },
  },
  {
    source: 'Outlook',
    header:
      "First Name,Middle Name,Last Name,Title,Suffix,Initials,Web Page,Gender,Birthday,Notes,E-mail Address,E-mail 2 Address,Primary Phone,Home Phone,Home Phone 2,Mobile Phone,Pager,Home Fax,Home Street,Home City,Home Postal Code,Manager's Name,Assistant's Name,Company Main Phone,Business Phone,Business Phone 2,Business Fax,Assistant's Phone,Company,Job Title,Other Phone,Callback,Car Phone,ISDN,Radio Phone,TTY/TDD Phone,Telex,Categories",
    phones: [
      'Primary Phone',
      'Mobile Phone',
      'Business Phone',
      'Business Phone 2',
      'Home Phone',
      'Home Phone 2',
      'Other Phone',
      'Company Main Phone',
    ],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'E-mail Address',
      companyName: 'Company',
      location: 'Home City',
      pinCode: 'Home Postal Code',
      keywords: 'Categories',
    },
  },
  {
    source: 'Meta lead ads',
    header:
      'id,created_time,ad_id,ad_name,adset_id,adset_name,campaign_id,campaign_name,form_id,form_name,is_organic,platform,email,full_name,phone_number,company_name,city,post_code,inbox_url,lead_status',
    phones: ['phone_number'],
    fields: {
      name: 'full_name',
      email: 'email',
      companyName: 'company_name',
      location: 'city',
      pinCode: 'post_code',
    },
  },
  {
    source: 'Pipedrive persons',
    header:
      'Person - ID,Person - Name,Person - Label,Person - Organization,Person - Phone - Work,Person - Phone - Home,Person - Phone - Mobile,Person - Phone - Other,Person - Email - Work,Person - Email - Home,Person - Owner',
    phones: [
      'Person - Phone - Mobile',
      'Person - Phone - Work',
      'Person - Phone - Home',
      'Person - Phone - Other',
    ],
    fields: {
      name: 'Person - Name',
      email: 'Person - Email - Work',
      companyName: 'Person - Organization',
    },
  },
  {
    source: 'Shopify customers',
    header:
      'Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,Default Address Address1,Default Address City,Default Address Province Code,Default Address Country Code,Default Address Zip,Default Address Phone,Phone,Accepts SMS Marketing,Total Spent,Total Orders,Note,Tax Exempt,Tags',
    phones: ['Phone', 'Default Address Phone'],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'Email',
      companyName: 'Default Address Company',
      location: 'Default Address City',
      pinCode: 'Default Address Zip',
      keywords: 'Tags',
    },
  },
  {
    source: 'Zoho CRM',
    header:
      'Record Id,Contact Owner,First Name,Last Name,Account Name,Email,Phone,Mobile,Home Phone,Other Phone,Asst Phone,Fax,Mailing City,Mailing Zip,Email Opt Out,Tag',
    phones: ['Phone', 'Mobile', 'Home Phone', 'Other Phone'],
    fields: {
      firstName: 'First Name',
      lastName: 'Last Name',
      email: 'Email',
      companyName: 'Account Name',
      location: 'Mailing City',
      pinCode: 'Mailing Zip',
      keywords: 'Tag',
    },
  },
  {
    source: 'phone twice',
    header: 'phone,name,phone,Phone Type,Phone Verified,Mobile device,Customer Number,Number',
    phones: ['phone', 'phone'],
    fields: { name: 'name' },
  },
  {
    source: 'only a number',
    header: 'Number,City',
    phones: ['Number'],
    fields: { location: 'City' },
  },
];

/** A phone number, first name, last name and email column in each of the largest languages. */
export const LANGUAGES: [string, string][] = [
  ['English', 'Mobile Number,First Name,Last Name,Email'],
  ['Mandarin', '手机号码,名字,姓,邮箱'],
  ['Cantonese', '電話號碼,名,姓氏,電子郵件'],
  ['Hindi', 'मोबाइल नंबर,पहला नाम,उपनाम,ईमेल'],
  ['Spanish', 'Número de teléfono,Primer nombre,Apellidos,Correo electrónico'],
  ['Arabic', 'رقم الجوال,الاسم الأول,اسم العائلة,البريد الإلكتروني'],
  ['French', 'N° de téléphone,Prénom,Nom de famille,Courriel'],
  ['Bengali', 'মোবাইল নম্বর,প্রথম নাম,শেষ নাম,ইমেইল'],
  ['Portuguese', 'Telemóvel,Primeiro nome,Sobrenome,E-mail'],
  ['Russian', 'Номер телефона,Имя,Фамилия,Электронная почта'],
  ['Urdu', 'موبائل نمبر,پہلا نام,آخری نام,ای میل'],
  ['Indonesian', 'No. HP,Nama depan,Nama belakang,Alamat email'],
  ['German', 'Telefonnummer,Vorname,Nachname,E-Mail-Adresse'],
  ['Japanese', '携帯電話番号,名,姓,メールアドレス'],
  ['Marathi', 'मोबाईल नंबर,पहिले नाव,आडनाव,ईमेल'],
  ['Telugu', 'ఫోన్ నంబర్,మొదటి పేరు,ఇంటి పేరు,ఇమెయిల్'],
  ['Turkish', 'Cep telefonu,Adı,Soyadı,E-posta'],
  ['Tamil', 'கைபேசி எண்,முதல் பெயர்,கடைசி பெயர்,மின்னஞ்சல்'],
  ['Vietnamese', 'Số điện thoại,Tên,Họ,Email'],
  ['Korean', '휴대폰 번호,이름,성,이메일'],
  ['Italian', 'Numero di cellulare,First name,Cognome,Indirizzo email'],
  ['Persian', 'شماره موبایل,First name,نام خانوادگی,ایمیل'],
  ['Swahili', 'Nambari ya simu,Jina la kwanza,Jina la mwisho,Barua pepe'],
  ['Polish', 'Nr telefonu,Imię,Nazwisko,Adres e-mail'],
  ['Dutch', 'Telefoonnummer,Voornaam,Achternaam,E-mailadres'],
  ['Thai', 'เบอร์โทรศัพท์,ชื่อ,นามสกุล,อีเมล'],
];
