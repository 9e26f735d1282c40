package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stream is a producer or consumer that runs until it is stopped.
type stream struct {
	lock     sync.Mutex
	entries  [][3]int64
	failures [][2]any
	stop     context.CancelFunc
	done     chan struct{}
}

var (
	streamsLock sync.Mutex
	streams     = map[int64]*stream{}
)

func streamProduce(order command) (any, error) {
	opts, err := order.Options.producer()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return started(client, func(running context.Context, stream *stream) {
		begun := time.Now()
		for sequence := int64(0); running.Err() == nil; sequence++ {
			time.Sleep(time.Until(begun.Add(time.Duration(sequence) * time.Second / time.Duration(order.Rate))))
			key := []byte(strconv.FormatInt(sequence, 10))
			value := make([]byte, max(order.ValueBytes, len(key)))
			copy(value, key)
			sent := &kgo.Record{Topic: order.Topic, Partition: int32(sequence) % order.Partitions.count, Key: key, Value: value}
			client.Produce(context.Background(), sent, func(sent *kgo.Record, err error) {
				if err != nil {
					stream.failure(sequence, err)
				} else {
					stream.entry(sent.Partition, sent.Offset, sequence)
				}
			})
		}
		if err := client.Flush(context.Background()); err != nil {
			stream.failure(-1, err)
		}
	}), nil
}

func streamConsume(order command) (any, error) {
	opts, err := order.Options.consumer()
	if err != nil {
		return nil, err
	}
	if order.Options.Group != "" {
		return nil, errors.New("streams of groups are not needed here")
	}
	opts = append(opts, kgo.ConsumePartitions(startOf(order.Partitions.places)))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return started(client, func(running context.Context, stream *stream) {
		for running.Err() == nil {
			fetches := client.PollFetches(running)
			for _, failure := range fetches.Errors() {
				if running.Err() == nil {
					stream.failure(-1, failure.Err)
				}
			}
			fetches.EachRecord(func(read *kgo.Record) {
				sequence, err := strconv.ParseInt(string(read.Key), 10, 64)
				if err != nil {
					stream.failure(-1, err)
				}
				stream.entry(read.Partition, read.Offset, sequence)
			})
		}
	}), nil
}

func streamStatus(order command) (any, error) {
	stream, err := running(order.Stream)
	if err != nil {
		return nil, err
	}
	stream.lock.Lock()
	defer stream.lock.Unlock()
	return map[string]any{"count": len(stream.entries)}, nil
}

func streamStop(order command) (any, error) {
	stream, err := running(order.Stream)
	if err != nil {
		return nil, err
	}
	stream.stop()
	<-stream.done
	return map[string]any{"entries": stream.entries, "failures": stream.failures}, nil
}

func started(client *kgo.Client, work func(context.Context, *stream)) map[string]any {
	running, stop := context.WithCancel(context.Background())
	stream := &stream{entries: [][3]int64{}, failures: [][2]any{}, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(stream.done)
		defer client.Close()
		work(running, stream)
	}()
	streamsLock.Lock()
	defer streamsLock.Unlock()
	number := int64(len(streams) + 1)
	streams[number] = stream
	return map[string]any{"stream": number}
}

func running(number int64) (*stream, error) {
	streamsLock.Lock()
	defer streamsLock.Unlock()
	if stream := streams[number]; stream != nil {
		return stream, nil
	}
	return nil, fmt.Errorf("no stream %d", number)
}

func (s *stream) entry(partition int32, offset, sequence int64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.entries = append(s.entries, [3]int64{int64(partition), offset, sequence})
}

func (s *stream) failure(sequence int64, failure error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.failures = append(s.failures, [2]any{sequence, failure.Error()})
}
