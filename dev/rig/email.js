/** Speaks the `send_email` binding: hands a mail to the rig's mail service, whose refusals are errors with a code. */
export default ({ service }) => ({
  async send(message) {
    const response = await service.fetch('http://mail/', { method: 'POST', body: JSON.stringify(message) })
    const answer = await response.json()
    if (!response.ok) throw Object.assign(new Error(answer.message), { code: answer.code })
    return answer
  },
})
