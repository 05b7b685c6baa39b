/**
 * A Durable Object namespace whose objects live in another process: made of a local namespace of the same key, which
 * only names them, and that process's debug port. Any method, `fetch` and WebSockets pass as to an object at home.
 */
export default ({ local, port, address, service, className }) => {
  const get = (id) => port.connect(address).getActor(service, className, id.toString())
  return {
    get,
    idFromName: (name) => local.idFromName(name),
    getByName: (name) => get(local.idFromName(name)),
  }
}
