// A test client on franz-go. It reads commands, runs each in a goroutine of its own and writes the answers:
// ../PROTOCOL.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

type command struct {
	ID           int64         `json:"id"`
	Op           string        `json:"op"`
	Options      options       `json:"options"`
	Transactions []transaction `json:"transactions"`
	Topics       []string      `json:"topics"`
	Partitions   partitions    `json:"partitions"`
	Count        int           `json:"count"`
	TimeoutMs    int64         `json:"timeout_ms"`
	SettleMs     int64         `json:"settle_ms"`
	Topic        string        `json:"topic"`
	Rate         int64         `json:"rate"`
	ValueBytes   int           `json:"value_bytes"`
	Stream       int64         `json:"stream"`
}

type answer struct {
	ID     int64  `json:"id"`
	OK     bool   `json:"ok"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

func main() {
	var writing sync.Mutex
	answers := json.NewEncoder(os.Stdout)
	// A command may hold thousands of records, so lines have no bound.
	commands := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := commands.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go func() {
			reply := run(line)
			writing.Lock()
			defer writing.Unlock()
			if err := answers.Encode(reply); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

func run(line []byte) answer {
	var order command
	if err := json.Unmarshal(line, &order); err != nil {
		return answer{Error: err.Error()}
	}
	var result any
	var err error
	switch order.Op {
	case "produce":
		result, err = produce(order)
	case "consume":
		result, err = consume(order)
	case "reach":
		result, err = reach(order)
	case "stream_produce":
		result, err = streamProduce(order)
	case "stream_consume":
		result, err = streamConsume(order)
	case "stream_status":
		result, err = streamStatus(order)
	case "stream_stop":
		result, err = streamStop(order)
	default:
		err = fmt.Errorf("no operation %q", order.Op)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return answer{ID: order.ID, Error: err.Error()}
	}
	return answer{ID: order.ID, OK: true, Result: result}
}
