/** What mails say, in each language, as plain text and as HTML. */
import type { Env } from '../env.ts'
import type { Language, MailKind } from '../words.ts'
import type { Letter } from './service.ts'

interface Content {
  subject: string
  /** Before the link and the code. */
  lines: string[]
  /** After them, in small print. */
  notes?: string[]
  /** Where the link leads in the front end, and what it is called. */
  link?: [path: string, label: string]
}

type Data = Record<string, string> & { isProved: boolean }
type Texts = Record<MailKind, (data: Data) => Content>

const paths = {
  confirm: '/confirm-email',
  reset: '/reset-password',
  undo: '/undo-email-change',
  invite: '/accept-invite',
  export: '/account-export',
}

/** As programs find addresses in texts: a dot between what are no blanks and no other marks, `@`, `://`. */
const ADDRESS = /[^\s\p{P}][-_]*[.。][-_]*[^\s\p{P}]|@|:\/\//u

/** Somebody else's words, if nothing in them could be taken for an address, whichever dots it has, and what can't be seen between them. */
const quoted = (words: string | undefined) =>
  words && !ADDRESS.test(words.normalize('NFKC').replace(/\p{Cf}/gu, '')) ? words : undefined

const roleNames: Record<Language, Record<string, string>> = {
  en: { viewer: 'viewer', member: 'member', admin: 'admin', owner: 'owner' },
  de: { viewer: 'Betrachter', member: 'Mitglied', admin: 'Administrator', owner: 'Eigentümer' },
  zh: { viewer: '查看者', member: '成员', admin: '管理员', owner: '所有者' },
}

/** Where somebody has signed in, as far as it is known. */
const placeOf = (language: Language, { device, country }: Data, nowhere: string) => {
  const named = country && new Intl.DisplayNames(language, { type: 'region', fallback: 'code' }).of(country)
  return [device, named].filter(Boolean).join(language === 'zh' ? '，' : ', ') || nowhere
}

const texts: Record<Language, Texts> = {
  en: {
    verify: () => ({
      subject: 'Confirm your e-mail address',
      lines: ['Open this page where you are signed in, or type the code there:'],
      link: [paths.confirm, 'Confirm the address'],
      notes: [
        'Both work once, for an hour. If you have no account, do nothing: without you nobody can use this address.',
      ],
    }),
    reset: ({ isProved, undone }) => ({
      subject: 'Set a new password',
      lines: isProved
        ? [
            ...(undone
              ? [
                  'This is the address of your account again: the change was undone. Everybody was signed out, and the former password works no more.',
                  'Keys, webhook endpoints and open invitations that were made since a day before the change have ended. Please see whether you know all members of your workspaces.',
                ]
              : []),
            'On this page you can set a new password. That signs you out everywhere and removes second factors of the last day.',
          ]
        : [
            'Nobody has confirmed this address yet. On this page you can set a password with which it is yours.',
            'If you have registered, open the page on the device and in the browser that you did it with, and your account stays as it is. Anywhere else you get a new account: what is in the first one does not come along.',
          ],
      link: [paths.reset, 'Set a password'],
      notes: [
        undone
          ? 'The link works once, for an hour. After that, ask for another one where you sign in.'
          : 'The link works once, for an hour. If you have not asked for it, do nothing.',
      ],
    }),
    change_old: ({ email }) => ({
      subject: 'Do you want to change your e-mail address?',
      lines: [
        `Somebody who is signed in to your account wants to change its address to ${email}. To agree, open this page where you are signed in, or type the code there:`,
      ],
      link: [paths.confirm, 'Agree to the change'],
      notes: ['Both work once, for an hour. If that was not you, agree to nothing and set a new password.'],
    }),
    change_new: () => ({
      subject: 'Confirm your new e-mail address',
      lines: ['Open this page where you are signed in, or type the code there:'],
      link: [paths.confirm, 'Confirm the address'],
      notes: ['Both work once, for an hour. If you have not asked for it, do nothing.'],
    }),
    invite: ({ workspace, by, role = '' }) => ({
      subject: 'An invitation to work together',
      lines: [
        `${quoted(by) ?? 'Somebody'} has invited you to ${quoted(workspace) ? `the workspace “${quoted(workspace)}”` : 'a workspace'}.`,
        `Your role there: ${roleNames.en[role]}. The invitation is good for 7 days.`,
      ],
      link: [paths.invite, 'See the invitation'],
      notes: ['If you expect no invitation, do nothing.'],
    }),
    email_changed: ({ email }) => ({
      subject: 'Your e-mail address was changed',
      lines: [`The address of your account is now ${email}. If that was not you, take it back here:`],
      link: [paths.undo, 'Undo the change'],
      notes: ['That works for a day. It signs everybody out, and you set a new password by mail.'],
    }),
    password_changed: () => ({
      subject: 'Your password was changed',
      lines: ['The password of your account was changed, and other sessions were ended.'],
      notes: ['If that was not you, reset it at once.'],
    }),
    password_reset: ({ day, factors }) => ({
      subject: 'Your password was reset',
      lines: [
        `A new password was set by mail. All sessions were ended${factors ? ', and second factors of the last day removed' : ''}: sign in again.`,
        ...(day
          ? [`Your account will still be deleted on ${day} (UTC), unless you sign in before that day.`]
          : []),
      ],
      notes: ['If that was not you, somebody can read your mail: change the password of your mailbox first.'],
    }),
    factor_added: () => ({
      subject: 'A second factor was added',
      lines: ['Your account has a new second factor, an authenticator app or a passkey.'],
      notes: [
        'If that was not you, reset your password by mail within a day: that removes it and ends all sessions.',
      ],
    }),
    factor_removed: () => ({
      subject: 'A second factor was removed',
      lines: ['An authenticator app or a passkey of your account was removed.'],
      notes: ['If that was not you, reset your password by mail at once, and set up a second factor anew.'],
    }),
    codes_renewed: () => ({
      subject: 'You have new recovery codes',
      lines: ['New recovery codes were made for your account. Those from before work no more.'],
      notes: ['If that was not you, reset your password by mail at once, and make new codes.'],
    }),
    new_device: (data) => ({
      subject: 'A new device has signed in',
      lines: [
        `Somebody has signed in to your account: ${placeOf('en', data, 'an unknown device')}, ${data.at} UTC.`,
      ],
      notes: ['If that was you, all is well. If not, end that session and set a new password.'],
    }),
    factor_guessed: () => ({
      subject: 'Somebody has your password',
      lines: [
        'Somebody has signed in with your password and then failed to show your second factor, ten times or more within an hour. They have not got in by that.',
      ],
      notes: [
        'If that was you, all is well. If not, change your password: until then they can go on guessing, and keep you from signing in on new devices.',
      ],
    }),
    leaving: ({ day }) => ({
      subject: 'Your account will be deleted',
      lines: [
        `Your account will be deleted on ${day} (UTC), with the workspaces that are yours alone. You were signed out everywhere.`,
        'If you sign in before that day, it stays.',
      ],
      notes: ['If that was not you, sign in and set a new password.'],
    }),
    staying: () => ({
      subject: 'Your account stays',
      lines: ['Somebody has signed in to your account, so it will not be deleted.'],
      notes: ['If that was not you, set a new password, and delete the account again if you want that.'],
    }),
    export: () => ({
      subject: 'Your data is ready',
      lines: ['Everything that we know of you is ready as a file. Fetch it on this page, signed in:'],
      link: [paths.export, 'Fetch the file'],
      notes: [
        'It is deleted after a day. If you have not asked for it, end your other sessions and set a new password.',
      ],
    }),
  },
  de: {
    verify: () => ({
      subject: 'Bestätigen Sie Ihre E-Mail-Adresse',
      lines: ['Öffnen Sie diese Seite dort, wo Sie angemeldet sind, oder geben Sie dort den Code ein:'],
      link: [paths.confirm, 'Adresse bestätigen'],
      notes: [
        'Beides gilt einmal und eine Stunde lang. Wenn Sie kein Konto haben, tun Sie nichts: Ohne Sie kann niemand diese Adresse benutzen.',
      ],
    }),
    reset: ({ isProved, undone }) => ({
      subject: 'Neues Passwort setzen',
      lines: isProved
        ? [
            ...(undone
              ? [
                  'Dies ist wieder die Adresse Ihres Kontos: Die Änderung wurde rückgängig gemacht. Alle wurden abgemeldet, und das bisherige Passwort gilt nicht mehr.',
                  'Schlüssel, Webhook-Endpunkte und offene Einladungen, die seit dem Tag vor der Änderung entstanden sind, gelten nicht mehr. Bitte prüfen Sie, ob Sie alle Mitglieder Ihrer Arbeitsbereiche kennen.',
                ]
              : []),
            'Auf dieser Seite können Sie ein neues Passwort setzen. Sie werden dabei überall abgemeldet, und zweite Faktoren des letzten Tages werden entfernt.',
          ]
        : [
            'Diese Adresse hat noch niemand bestätigt. Auf dieser Seite können Sie ein Passwort setzen, mit dem sie Ihnen gehört.',
            'Wenn Sie sich registriert haben, öffnen Sie die Seite auf dem Gerät und in dem Browser, mit dem Sie das getan haben: Dann bleibt Ihr Konto, wie es ist. Anderswo bekommen Sie ein neues Konto, und was im ersten liegt, kommt nicht mit.',
          ],
      link: [paths.reset, 'Passwort setzen'],
      notes: [
        undone
          ? 'Der Link gilt einmal und eine Stunde lang. Danach fordern Sie einen neuen an, wo Sie sich anmelden.'
          : 'Der Link gilt einmal und eine Stunde lang. Wenn Sie nicht darum gebeten haben, tun Sie nichts.',
      ],
    }),
    change_old: ({ email }) => ({
      subject: 'Möchten Sie Ihre E-Mail-Adresse ändern?',
      lines: [
        `Jemand, der in Ihrem Konto angemeldet ist, möchte dessen Adresse in ${email} ändern. Um zuzustimmen, öffnen Sie diese Seite dort, wo Sie angemeldet sind, oder geben Sie dort den Code ein:`,
      ],
      link: [paths.confirm, 'Der Änderung zustimmen'],
      notes: [
        'Beides gilt einmal und eine Stunde lang. Wenn Sie das nicht waren, stimmen Sie nicht zu und setzen Sie ein neues Passwort.',
      ],
    }),
    change_new: () => ({
      subject: 'Bestätigen Sie Ihre neue E-Mail-Adresse',
      lines: ['Öffnen Sie diese Seite dort, wo Sie angemeldet sind, oder geben Sie dort den Code ein:'],
      link: [paths.confirm, 'Adresse bestätigen'],
      notes: ['Beides gilt einmal und eine Stunde lang. Wenn Sie nicht darum gebeten haben, tun Sie nichts.'],
    }),
    invite: ({ workspace, by, role = '' }) => ({
      subject: 'Eine Einladung zur Zusammenarbeit',
      lines: [
        `${quoted(by) ?? 'Jemand'} hat Sie in ${quoted(workspace) ? `den Arbeitsbereich „${quoted(workspace)}“` : 'einen Arbeitsbereich'} eingeladen.`,
        `Ihre Rolle dort: ${roleNames.de[role]}. Die Einladung gilt 7 Tage lang.`,
      ],
      link: [paths.invite, 'Einladung ansehen'],
      notes: ['Wenn Sie keine Einladung erwarten, tun Sie nichts.'],
    }),
    email_changed: ({ email }) => ({
      subject: 'Ihre E-Mail-Adresse wurde geändert',
      lines: [
        `Die Adresse Ihres Kontos ist jetzt ${email}. Wenn Sie das nicht waren, holen Sie sie hier zurück:`,
      ],
      link: [paths.undo, 'Änderung rückgängig machen'],
      notes: [
        'Das geht einen Tag lang. Dabei werden alle abgemeldet, und Sie setzen per Mail ein neues Passwort.',
      ],
    }),
    password_changed: () => ({
      subject: 'Ihr Passwort wurde geändert',
      lines: ['Das Passwort Ihres Kontos wurde geändert, andere Sitzungen wurden beendet.'],
      notes: ['Wenn Sie das nicht waren, setzen Sie es sofort zurück.'],
    }),
    password_reset: ({ day, factors }) => ({
      subject: 'Ihr Passwort wurde zurückgesetzt',
      lines: [
        `Per Mail wurde ein neues Passwort gesetzt. Alle Sitzungen wurden beendet${factors ? ' und zweite Faktoren des letzten Tages entfernt' : ''}: Melden Sie sich neu an.`,
        ...(day
          ? [`Ihr Konto wird weiterhin am ${day} (UTC) gelöscht, wenn Sie sich nicht vorher anmelden.`]
          : []),
      ],
      notes: [
        'Wenn Sie das nicht waren, kann jemand Ihre Mails lesen: Ändern Sie zuerst das Passwort Ihres Postfachs.',
      ],
    }),
    factor_added: () => ({
      subject: 'Ein zweiter Faktor kam hinzu',
      lines: ['Ihr Konto hat einen neuen zweiten Faktor, eine Authenticator-App oder einen Passkey.'],
      notes: [
        'Wenn Sie das nicht waren, setzen Sie binnen eines Tages Ihr Passwort per Mail zurück: Das entfernt ihn und beendet alle Sitzungen.',
      ],
    }),
    factor_removed: () => ({
      subject: 'Ein zweiter Faktor wurde entfernt',
      lines: ['Eine Authenticator-App oder ein Passkey Ihres Kontos wurde entfernt.'],
      notes: [
        'Wenn Sie das nicht waren, setzen Sie sofort Ihr Passwort per Mail zurück und richten Sie einen zweiten Faktor neu ein.',
      ],
    }),
    codes_renewed: () => ({
      subject: 'Sie haben neue Wiederherstellungscodes',
      lines: [
        'Für Ihr Konto wurden neue Wiederherstellungscodes erstellt. Die bisherigen gelten nicht mehr.',
      ],
      notes: [
        'Wenn Sie das nicht waren, setzen Sie sofort Ihr Passwort per Mail zurück und erstellen Sie neue Codes.',
      ],
    }),
    new_device: (data) => ({
      subject: 'Anmeldung von einem neuen Gerät',
      lines: [
        `Jemand hat sich in Ihrem Konto angemeldet: ${placeOf('de', data, 'ein unbekanntes Gerät')}, ${data.at} UTC.`,
      ],
      notes: [
        'Wenn Sie das waren, ist alles gut. Wenn nicht, beenden Sie jene Sitzung und setzen Sie ein neues Passwort.',
      ],
    }),
    factor_guessed: () => ({
      subject: 'Jemand hat Ihr Passwort',
      lines: [
        'Jemand hat sich mit Ihrem Passwort angemeldet und dann binnen einer Stunde zehnmal oder öfter einen falschen zweiten Faktor gezeigt. Hineingekommen ist damit niemand.',
      ],
      notes: [
        'Wenn Sie das waren, ist alles gut. Wenn nicht, ändern Sie Ihr Passwort: Bis dahin kann weiter geraten werden, und Sie können sich auf neuen Geräten vielleicht nicht anmelden.',
      ],
    }),
    leaving: ({ day }) => ({
      subject: 'Ihr Konto wird gelöscht',
      lines: [
        `Ihr Konto wird am ${day} (UTC) gelöscht, mit den Arbeitsbereichen, die nur Ihnen gehören. Sie wurden überall abgemeldet.`,
        'Wenn Sie sich vorher anmelden, bleibt es bestehen.',
      ],
      notes: ['Wenn Sie das nicht waren, melden Sie sich an und setzen Sie ein neues Passwort.'],
    }),
    staying: () => ({
      subject: 'Ihr Konto bleibt bestehen',
      lines: ['Jemand hat sich in Ihrem Konto angemeldet, deshalb wird es nicht gelöscht.'],
      notes: [
        'Wenn Sie das nicht waren, setzen Sie ein neues Passwort, und löschen Sie das Konto erneut, falls Sie das möchten.',
      ],
    }),
    export: () => ({
      subject: 'Ihre Daten liegen bereit',
      lines: [
        'Alles, was wir über Sie wissen, liegt als Datei bereit. Laden Sie sie auf dieser Seite herunter, angemeldet:',
      ],
      link: [paths.export, 'Datei herunterladen'],
      notes: [
        'Sie wird nach einem Tag gelöscht. Wenn Sie nicht darum gebeten haben, beenden Sie Ihre anderen Sitzungen und setzen Sie ein neues Passwort.',
      ],
    }),
  },
  zh: {
    verify: () => ({
      subject: '请确认您的邮箱地址',
      lines: ['请在已登录的设备上打开此页面，或在那里输入验证码：'],
      link: [paths.confirm, '确认邮箱'],
      notes: [
        '链接和验证码仅可使用一次，一小时内有效。如果您没有注册账户，请忽略此邮件：未经您确认，任何人都无法使用此地址。',
      ],
    }),
    reset: ({ isProved, undone }) => ({
      subject: '设置新密码',
      lines: isProved
        ? [
            ...(undone
              ? [
                  '此地址已重新成为您账户的邮箱地址：更改已撤销。所有设备均已退出登录，原密码已失效。',
                  '自更改前一天以来创建的密钥、Webhook 端点和未接受的邀请均已失效。请检查您的工作区中是否有您不认识的成员。',
                ]
              : []),
            '您可以在此页面设置新密码。设置后，所有设备都将退出登录，最近一天内新增的第二验证因素也将被移除。',
          ]
        : [
            '此邮箱地址尚未被确认。您可以在此页面设置密码，之后此地址即归您使用。',
            '如果您曾注册过，请在注册时使用的设备和浏览器中打开此页面，您的账户将保持原样。在其他地方打开则会创建一个新账户：原账户中的内容不会转移过来。',
          ],
      link: [paths.reset, '设置密码'],
      notes: [
        undone
          ? '链接仅可使用一次，一小时内有效。过期后，请在登录页面重新申请。'
          : '链接仅可使用一次，一小时内有效。如果这不是您的请求，请忽略此邮件。',
      ],
    }),
    change_old: ({ email }) => ({
      subject: '您要更改邮箱地址吗？',
      lines: [
        `有人登录了您的账户，并请求将邮箱地址更改为 ${email}。如果您同意，请在已登录的设备上打开此页面，或在那里输入验证码：`,
      ],
      link: [paths.confirm, '同意更改'],
      notes: [
        '链接和验证码仅可使用一次，一小时内有效。如果这不是您本人的操作，请不要同意，并立即设置新密码。',
      ],
    }),
    change_new: () => ({
      subject: '请确认您的新邮箱地址',
      lines: ['请在已登录的设备上打开此页面，或在那里输入验证码：'],
      link: [paths.confirm, '确认邮箱'],
      notes: ['链接和验证码仅可使用一次，一小时内有效。如果这不是您的请求，请忽略此邮件。'],
    }),
    invite: ({ workspace, by, role = '' }) => ({
      subject: '协作邀请',
      lines: [
        `${quoted(by) ?? '有人'}邀请您加入${quoted(workspace) ? `工作区“${quoted(workspace)}”` : '一个工作区'}。`,
        `您在其中的角色：${roleNames.zh[role]}。邀请 7 天内有效。`,
      ],
      link: [paths.invite, '查看邀请'],
      notes: ['如果您没有预期收到邀请，请忽略此邮件。'],
    }),
    email_changed: ({ email }) => ({
      subject: '您的邮箱地址已更改',
      lines: [`您账户的邮箱地址现在是 ${email}。如果这不是您本人的操作，请在此撤销：`],
      link: [paths.undo, '撤销更改'],
      notes: ['一天内有效。撤销后所有设备都将退出登录，您需要通过邮件设置新密码。'],
    }),
    password_changed: () => ({
      subject: '您的密码已更改',
      lines: ['您账户的密码已更改，其他会话已结束。'],
      notes: ['如果这不是您本人的操作，请立即重置密码。'],
    }),
    password_reset: ({ day, factors }) => ({
      subject: '您的密码已重置',
      lines: [
        `已通过邮件设置新密码。所有会话均已结束${factors ? '，最近一天内新增的第二验证因素已被移除' : ''}，请重新登录。`,
        ...(day ? [`您的账户仍将于 ${day}（UTC）删除；如果您在此之前登录，账户将会保留。`] : []),
      ],
      notes: ['如果这不是您本人的操作，说明有人能读取您的邮件：请先更改邮箱的密码。'],
    }),
    factor_added: () => ({
      subject: '您的账户新增了第二验证因素',
      lines: ['您的账户新增了一个第二验证因素：身份验证器应用或通行密钥。'],
      notes: ['如果这不是您本人的操作，请在一天内通过邮件重置密码：该因素将被移除，所有会话都将结束。'],
    }),
    factor_removed: () => ({
      subject: '您的账户移除了第二验证因素',
      lines: ['您账户中的一个身份验证器应用或通行密钥已被移除。'],
      notes: ['如果这不是您本人的操作，请立即通过邮件重置密码，并重新设置第二验证因素。'],
    }),
    codes_renewed: () => ({
      subject: '您的恢复代码已更新',
      lines: ['您的账户已生成新的恢复代码，之前的代码已失效。'],
      notes: ['如果这不是您本人的操作，请立即通过邮件重置密码，并重新生成恢复代码。'],
    }),
    new_device: (data) => ({
      subject: '新设备登录提醒',
      lines: [`您的账户有新的登录：${placeOf('zh', data, '未知设备')}，${data.at} UTC。`],
      notes: ['如果是您本人，无需处理。如果不是，请结束该会话并设置新密码。'],
    }),
    factor_guessed: () => ({
      subject: '有人知道您的密码',
      lines: ['有人用您的密码登录，随后在一小时内十次或更多次未能通过第二验证因素。对方并未因此登录成功。'],
      notes: [
        '如果是您本人，无需处理。如果不是，请更改密码：在此之前，对方可以继续尝试，您在新设备上可能无法登录。',
      ],
    }),
    leaving: ({ day }) => ({
      subject: '您的账户将被删除',
      lines: [
        `您的账户将于 ${day}（UTC）删除，仅属于您一人的工作区也会一并删除。您已在所有设备上退出登录。`,
        '如果您在此之前登录，账户将会保留。',
      ],
      notes: ['如果这不是您本人的操作，请登录并设置新密码。'],
    }),
    staying: () => ({
      subject: '您的账户将会保留',
      lines: ['您的账户有新的登录，因此不会被删除。'],
      notes: ['如果这不是您本人的操作，请设置新密码；如果您仍想删除账户，请重新申请删除。'],
    }),
    export: () => ({
      subject: '您的数据已准备好',
      lines: ['我们所掌握的关于您的全部数据已生成文件。请登录后在此页面下载：'],
      link: [paths.export, '下载文件'],
      notes: ['文件将在一天后删除。如果这不是您的请求，请结束其他会话并设置新密码。'],
    }),
  },
}

/** Kinds with a code beside the link. */
const isTyped = (kind: MailKind) => ['verify', 'change_old', 'change_new'].includes(kind)

const toEntities = (text: string) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`)

const toHtml = (
  language: Language,
  { subject, lines, notes = [] }: Content,
  url: string | undefined,
  label: string,
  code: string | undefined,
  from: string,
) => `<!doctype html>
<html lang="${language}">
<meta charset="utf-8">
<title>${toEntities(subject)}</title>
<body style="margin:0;padding:24px;background:#f4f4f2;color:#222;font:16px/1.5 system-ui,sans-serif">
<div style="max-width:480px;margin:0 auto;padding:24px;background:#fff;border-radius:8px">
<h1 style="margin:0 0 16px;font-size:20px">${toEntities(subject)}</h1>
${lines.map((line) => `<p>${toEntities(line)}</p>`).join('\n')}
${url ? `<p><a href="${toEntities(url)}" style="display:inline-block;padding:10px 18px;background:#1f4d3a;color:#fff;border-radius:6px;text-decoration:none">${toEntities(label)}</a></p>` : ''}
${code ? `<p style="font-size:24px;letter-spacing:3px">${code}</p>` : ''}
${notes.map((note) => `<p style="color:#666;font-size:14px">${toEntities(note)}</p>`).join('\n')}
</div>
<p style="max-width:480px;margin:12px auto;color:#888;font-size:13px">${toEntities(from)}</p>
</body>
</html>
`

/** The token stands behind `#`, which browsers send to no server: the page sends it with a POST when it is confirmed. */
export const writeLetter = (
  env: Pick<Env, 'APP_URL' | 'MAIL_FROM'>,
  mail: { kind: MailKind; language: Language; data: Data; token: string; code: string },
): Omit<Letter, 'to'> => {
  const content = texts[mail.language][mail.kind](mail.data)
  const [path, label] = content.link ?? []
  // What needs somebody signed in needs no token.
  const url = path && `${env.APP_URL}${path}${mail.kind === 'export' ? '' : `#token=${mail.token}`}`
  const code = isTyped(mail.kind) ? `${mail.code.slice(0, 4)} ${mail.code.slice(4)}` : undefined
  const parts = [...content.lines, url, code, ...(content.notes ?? []), env.MAIL_FROM.name]
  return {
    subject: content.subject,
    text: `${parts.filter(Boolean).join('\n\n')}\n`,
    html: toHtml(mail.language, content, url, label ?? '', code, env.MAIL_FROM.name),
  }
}
