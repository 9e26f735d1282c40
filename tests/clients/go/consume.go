package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func consume(order command) (any, error) {
	opts, err := order.Options.consumer()
	if err != nil {
		return nil, err
	}
	if order.Options.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(order.Options.Group), kgo.DisableAutoCommit(), kgo.ConsumeTopics(order.Topics...))
	} else {
		opts = append(opts, kgo.ConsumePartitions(startOf(order.Partitions.places)))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()

	records := []record{}
	deadline := time.Now().Add(time.Duration(order.TimeoutMs) * time.Millisecond)
	for len(records) < order.Count && time.Now().Before(deadline) {
		if records, err = take(client, records); err != nil {
			return nil, err
		}
	}
	settled := time.Now().Add(time.Duration(order.SettleMs) * time.Millisecond)
	for time.Now().Before(settled) {
		if records, err = take(client, records); err != nil {
			return nil, err
		}
	}
	if order.Options.Group != "" {
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			return nil, err
		}
	}
	return map[string]any{"records": records}, nil
}

// reach asks for metadata. A connection that fails is not tried again: its error is the answer.
func reach(order command) (any, error) {
	opts, err := order.Options.client()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts, kgo.RequestRetries(0))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	limited, cancel := context.WithTimeout(context.Background(), time.Duration(order.TimeoutMs)*time.Millisecond)
	defer cancel()
	if err := client.Ping(limited); err != nil {
		return nil, err
	}
	return map[string]any{}, nil
}

func take(client *kgo.Client, records []record) ([]record, error) {
	limited, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := client.PollFetches(limited)
	for _, failure := range fetches.Errors() {
		if !errors.Is(failure.Err, context.DeadlineExceeded) {
			return nil, failure.Err
		}
	}
	fetches.EachRecord(func(read *kgo.Record) { records = append(records, fromKafka(read)) })
	return records, nil
}

func startOf(partitions []topicAndPart) map[string]map[int32]kgo.Offset {
	starts := map[string]map[int32]kgo.Offset{}
	for _, place := range partitions {
		if starts[place.topic] == nil {
			starts[place.topic] = map[int32]kgo.Offset{}
		}
		starts[place.topic][place.partition] = kgo.NewOffset().AtStart()
	}
	return starts
}
