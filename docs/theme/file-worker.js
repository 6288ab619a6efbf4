// Search without a server. A page opened as a file may not start a worker, so the search's worker runs in a hidden frame.
if (location.protocol === "file:") {
  // The search looks for this name to know that its worker is a frame.
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.documentElement.append(this.frame)
      const inner = this.frame.contentWindow
      inner.document.open()
      inner.document.write(`<script>
        postMessage = parent.postMessage.bind(parent)
        importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((resolve, reject) => {
          const script = Object.assign(document.createElement("script"), {src: url, onload: resolve, onerror: reject})
          document.body.append(script)
        })), Promise.resolve())
      </script><body></body>`)
      inner.document.close()
      this.ready = new Promise((resolve, reject) => {
        const script = inner.document.createElement("script")
        Object.assign(script, {src: url, onload: resolve, onerror: reject})
        inner.document.body.append(script)
      })
      this.ready.catch(() => this.dispatchEvent(new Event("error")))
      window.addEventListener("message", (message) => {
        if (message.source !== inner && message.source !== window) return
        const event = new MessageEvent("message", {data: message.data})
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      })
    }
    postMessage(data) {
      this.ready.then(() => {
        const inner = this.frame.contentWindow
        inner.dispatchEvent(new inner.MessageEvent("message", {data}))
      })
    }
    terminate() {
      this.frame.remove()
    }
  }
}
